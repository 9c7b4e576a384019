// From the handler's name, ASSEMBLY::TYPE::METHOD, to a method, and from an invocation to its answer.

using System;
using System.IO;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Threading.Tasks;

namespace Gatemill.Runtime
{
    internal sealed class Handler
    {
        private const string ContextInterface = "Amazon.Lambda.Core.ILambdaContext";
        private const string Format = "The valid format is 'ASSEMBLY::TYPE::METHOD'.";

        private readonly MethodInfo method;
        private readonly object target;
        private readonly Type input;
        private readonly Type context;
        private readonly Type output;
        private readonly Serializer serializer;

        internal static string TaskRoot
        {
            get { return Environment.GetEnvironmentVariable("LAMBDA_TASK_ROOT") ?? "/var/task"; }
        }

        // Throws LambdaValidationException, or what the function's own code throws.
        internal static Handler Load(string name)
        {
            string[] parts = name.Split(new[] { "::" }, StringSplitOptions.None);
            if (parts.Length != 3)
            {
                string reason = "Invalid lambda function handler: '" + name + "'. " + Format;
                throw new LambdaValidationException(reason);
            }
            for (int index = 0; index < parts.Length; index++)
            {
                if (parts[index].Trim().Length > 0) continue;
                string missing = new[] { "assembly", "type", "method" }[index];
                throw new LambdaValidationException(
                    "Invalid lambda function handler: '" + name + "', the " + missing + " is missing. " + Format);
            }
            return Of(Assemblies.Load(TaskRoot, parts[0]), parts[0], parts[1], parts[2]);
        }

        internal static Handler Of(Assembly assembly, string assemblyName, string typeName, string methodName)
        {
            Type type = assembly.GetType(typeName);
            if (type == null)
            {
                throw new LambdaValidationException(
                    "Unable to load type '" + typeName + "' from assembly '" + assemblyName + "'.");
            }
            MethodInfo method = Find(type, methodName, assemblyName);
            return new Handler(method, Instance(type, method), Serializer.Of(method, assembly));
        }

        private static MethodInfo Find(Type type, string name, string assembly)
        {
            const BindingFlags all = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance
                | BindingFlags.Static | BindingFlags.FlattenHierarchy;
            MethodInfo[] found = Array.FindAll(type.GetMethods(all), one => one.Name == name);
            if (found.Length == 0)
            {
                // A whole signature chooses among overloads.
                found = Array.FindAll(type.GetMethods(all), one => one.ToString() == name);
            }
            if (found.Length == 0)
            {
                throw new LambdaValidationException(
                    "Unable to find method '" + name + "' in type '" + type.FullName + "' from assembly '"
                    + assembly + "': Found no methods matching method name '" + name + "'.");
            }
            if (found.Length > 1)
            {
                throw new LambdaValidationException(
                    "The method '" + name + "' in type '" + type.FullName
                    + "' appears to have a number of overloads. To call this method please specify a complete "
                    + "method signature. Possible candidates are:\n"
                    + string.Join("\n", Array.ConvertAll(found, one => one.ToString())) + ".");
            }
            Check(found[0], type);
            return found[0];
        }

        private static void Check(MethodInfo method, Type type)
        {
            string problem = null;
            if (method.IsAbstract)
            {
                problem = "because it is an abstract method. Handler methods cannot be abstract. Please specify a "
                    + "non-abstract handler method.";
            }
            else if (method.IsGenericMethod)
            {
                problem = "because it is a generic method. Handler methods cannot be generic. Please specify a "
                    + "non-generic handler method.";
            }
            else if (method.ReturnType == typeof(void)
                && method.IsDefined(typeof(AsyncStateMachineAttribute), false))
            {
                problem = "because it is an 'async void' method. Handler methods cannot be 'async void'. Please "
                    + "specify a method that is not 'async void'.";
            }
            if (problem != null)
            {
                throw new LambdaValidationException(
                    "The method '" + method + "' cannot be used as a Lambda Handler " + problem);
            }
            ParameterInfo[] parameters = method.GetParameters();
            string subject = "Method '" + method.Name + "' of type '" + type.FullName + "' is not supported: ";
            if (parameters.Length > 2)
            {
                throw new LambdaValidationException(subject + "the method has more than 2 parameters.");
            }
            if (parameters.Length == 2 && parameters[1].ParameterType.FullName != ContextInterface)
            {
                throw new LambdaValidationException(subject
                    + "the method has 2 parameters, but the second parameter is not of type '" + ContextInterface
                    + "'.");
            }
        }

        private static object Instance(Type type, MethodInfo method)
        {
            if (method.IsStatic) return null;
            if (type.IsAbstract)
            {
                throw new LambdaValidationException(
                    "The instance method '" + method + "' cannot be used as a Lambda Handler because its type '"
                    + type.FullName + "' is abstract. Please either use a static handler or specify a type that is "
                    + "not abstract.");
            }
            try
            {
                return Activator.CreateInstance(type);
            }
            catch (TargetInvocationException error)
            {
                ExceptionDispatchInfo.Capture(error.InnerException).Throw();
                throw;
            }
        }

        private Handler(MethodInfo method, object target, Serializer serializer)
        {
            this.method = method;
            this.target = target;
            this.serializer = serializer;
            foreach (ParameterInfo parameter in method.GetParameters())
            {
                bool isContext = parameter.ParameterType.FullName == ContextInterface;
                if (isContext) context = parameter.ParameterType;
                else input = parameter.ParameterType;
            }
            output = Result(method.ReturnType);
            bool isPlain = input == null || input == typeof(Stream);
            if (!isPlain) Serializer.Require(serializer, method, "deserialize input", input);
            bool isNothing = output == typeof(void) || typeof(Stream).IsAssignableFrom(output);
            if (!isNothing) Serializer.Require(serializer, method, "serialize output", output);
        }

        // What is behind a task.
        private static Type Result(Type type)
        {
            if (type == typeof(Task)) return typeof(void);
            bool isTask = type.IsGenericType && type.GetGenericTypeDefinition() == typeof(Task<>);
            return isTask ? type.GetGenericArguments()[0] : type;
        }

        internal void Answer(Invocation invocation, MemoryStream answer)
        {
            ParameterInfo[] parameters = method.GetParameters();
            var arguments = new object[parameters.Length];
            for (int index = 0; index < parameters.Length; index++)
            {
                arguments[index] = parameters[index].ParameterType == context
                    ? Context.For(context, invocation)
                    : Event(invocation);
            }
            object result = Call(arguments);
            if (output == typeof(void)) return;
            var stream = result as Stream;
            if (stream != null)
            {
                if (stream.CanSeek) stream.Position = 0;
                stream.CopyTo(answer);
            }
            else if (!typeof(Stream).IsAssignableFrom(output))
            {
                serializer.Serialize(output, result, answer);
            }
        }

        private object Event(Invocation invocation)
        {
            var stream = new MemoryStream(invocation.Payload, false);
            return input == typeof(Stream) ? stream : serializer.Deserialize(input, stream);
        }

        private object Call(object[] arguments)
        {
            object result;
            try
            {
                result = method.Invoke(target, arguments);
            }
            catch (TargetInvocationException error)
            {
                ExceptionDispatchInfo.Capture(error.InnerException).Throw();
                throw;
            }
            var task = result as Task;
            if (task == null) return result;
            task.GetAwaiter().GetResult();
            return output == typeof(void) ? null : task.GetType().GetProperty("Result").GetValue(task);
        }
    }
}
