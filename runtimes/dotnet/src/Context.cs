// The context object and what it refers to, as implementations of the interfaces that the function's own
// Amazon.Lambda.Core declares: made at run time, since the runtime client knows no such assembly.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Reflection;
using System.Text.Json;

namespace Gatemill.Runtime
{
    // Has to be public: the proxy that derives from it is in an assembly of its own.
    public class Facade : DispatchProxy
    {
        // Answers a call by the method and its arguments.
        internal Func<MethodInfo, object[], object> Answer;

        protected override object Invoke(MethodInfo method, object[] arguments)
        {
            return Answer(method, arguments);
        }
    }

    internal static class Context
    {
        private static readonly MethodInfo Create = typeof(DispatchProxy).GetMethod("Create", Type.EmptyTypes)
            ?? throw new MissingMethodException("DispatchProxy.Create");

        private static object Implement(Type type, Func<MethodInfo, object[], object> answer)
        {
            object made = Create.MakeGenericMethod(type, typeof(Facade)).Invoke(null, null);
            ((Facade)made).Answer = answer;
            return made;
        }

        // By the name of a property; null, or a type's default, for one that is not known.
        private static object FromProperties(Type type, Func<string, Type, object> property)
        {
            return Implement(type, (method, arguments) =>
            {
                bool isGetter = method.Name.StartsWith("get_", StringComparison.Ordinal);
                object value = isGetter ? property(method.Name.Substring(4), method.ReturnType) : null;
                bool isMissing = value == null && method.ReturnType.IsValueType
                    && method.ReturnType != typeof(void);
                return isMissing ? Activator.CreateInstance(method.ReturnType) : value;
            });
        }

        internal static object For(Type type, Invocation invocation)
        {
            object identity = null;
            object client = null;
            object logger = null;
            return FromProperties(type, (name, returned) =>
            {
                switch (name)
                {
                    case "AwsRequestId": return invocation.RequestId;
                    case "FunctionName": return Variable("AWS_LAMBDA_FUNCTION_NAME");
                    case "FunctionVersion": return Variable("AWS_LAMBDA_FUNCTION_VERSION");
                    case "InvokedFunctionArn": return invocation.FunctionArn;
                    case "LogGroupName": return Variable("AWS_LAMBDA_LOG_GROUP_NAME");
                    case "LogStreamName": return Variable("AWS_LAMBDA_LOG_STREAM_NAME");
                    case "MemoryLimitInMB":
                        string memory = Variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
                        return int.Parse(memory ?? "128", CultureInfo.InvariantCulture);
                    case "RemainingTime": return invocation.Deadline - DateTimeOffset.UtcNow;
                    case "TenantId": return invocation.TenantId.Length == 0 ? null : invocation.TenantId;
                    case "TraceId": return invocation.TraceId.Length == 0 ? null : invocation.TraceId;
                    case "Logger": return logger ?? (logger = Logger(returned));
                    case "Identity":
                        return identity ?? (identity = Identity(returned, invocation.CognitoIdentity));
                    case "ClientContext":
                        return client ?? (client = Client(returned, invocation.ClientContext));
                    default: return null;
                }
            });
        }

        private static string Variable(string name)
        {
            return Environment.GetEnvironmentVariable(name);
        }

        private static object Logger(Type type)
        {
            return Implement(type, (method, arguments) =>
            {
                Logs.Call(method.Name, arguments);
                return null;
            });
        }

        private static object Identity(Type type, string json)
        {
            if (json.Length == 0) json = "{}";
            using (JsonDocument document = JsonDocument.Parse(json))
            {
                Dictionary<string, string> fields = Json.Members(document.RootElement);
                return FromProperties(type, (name, returned) =>
                {
                    if (name == "IdentityId") return Field(fields, "cognitoIdentityId");
                    return name == "IdentityPoolId" ? Field(fields, "cognitoIdentityPoolId") : null;
                });
            }
        }

        private static string Field(Dictionary<string, string> fields, string name)
        {
            string value;
            return fields.TryGetValue(name, out value) ? value : null;
        }

        private static object Client(Type type, string json)
        {
            if (json.Length == 0) return null;
            using (JsonDocument document = JsonDocument.Parse(json))
            {
                Dictionary<string, string> application = Part(document.RootElement, "client");
                Dictionary<string, string> custom = Part(document.RootElement, "custom");
                Dictionary<string, string> environment = Part(document.RootElement, "env");
                return FromProperties(type, (name, returned) =>
                {
                    if (name == "Custom") return custom;
                    if (name == "Environment") return environment;
                    bool isClient = name == "Client" && application != null;
                    return isClient ? Application(returned, application) : null;
                });
            }
        }

        private static Dictionary<string, string> Part(JsonElement element, string name)
        {
            JsonElement part;
            bool isThere = element.ValueKind == JsonValueKind.Object
                && element.TryGetProperty(name, out part);
            return isThere ? Json.Members(element.GetProperty(name)) : null;
        }

        private static object Application(Type type, Dictionary<string, string> fields)
        {
            return FromProperties(type, (name, returned) =>
            {
                switch (name)
                {
                    case "AppPackageName": return Field(fields, "app_package_name");
                    case "AppTitle": return Field(fields, "app_title");
                    case "AppVersionCode": return Field(fields, "app_version_code");
                    case "AppVersionName": return Field(fields, "app_version_name");
                    case "InstallationId": return Field(fields, "installation_id");
                    default: return null;
                }
            });
        }
    }
}
