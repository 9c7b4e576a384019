package gatemill.runtime;

import com.amazonaws.services.lambda.runtime.Client;
import com.amazonaws.services.lambda.runtime.ClientContext;
import com.amazonaws.services.lambda.runtime.CognitoIdentity;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaLogger;
import com.amazonaws.services.lambda.runtime.LambdaRuntime;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/** What a handler is told of its invocation. */
final class InvocationContext implements Context {
    private final Invocation invocation;
    private final ClientContext clientContext;
    private final CognitoIdentity identity;

    InvocationContext(Invocation invocation) {
        this.invocation = invocation;
        Map<?, ?> client = object(invocation.clientContext);
        clientContext = client == null ? null : new Caller(client);
        Map<?, ?> cognito = object(invocation.cognitoIdentity);
        identity = cognito == null ? null : new Identity(cognito);
    }

    private static Map<?, ?> object(String json) {
        if (json.isEmpty()) {
            return null;
        }
        Object value = Json.parse(json.getBytes(StandardCharsets.UTF_8));
        return value instanceof Map ? (Map<?, ?>) value : null;
    }

    private static String text(Map<?, ?> fields, String name) {
        Object value = fields.get(name);
        return value == null ? null : value.toString();
    }

    @Override
    public String getAwsRequestId() {
        return invocation.requestId;
    }

    @Override
    public String getLogGroupName() {
        return System.getenv("AWS_LAMBDA_LOG_GROUP_NAME");
    }

    @Override
    public String getLogStreamName() {
        return System.getenv("AWS_LAMBDA_LOG_STREAM_NAME");
    }

    @Override
    public String getFunctionName() {
        return System.getenv("AWS_LAMBDA_FUNCTION_NAME");
    }

    @Override
    public String getFunctionVersion() {
        return System.getenv("AWS_LAMBDA_FUNCTION_VERSION");
    }

    @Override
    public String getInvokedFunctionArn() {
        return invocation.functionArn;
    }

    @Override
    public CognitoIdentity getIdentity() {
        return identity;
    }

    @Override
    public ClientContext getClientContext() {
        return clientContext;
    }

    @Override
    public int getRemainingTimeInMillis() {
        return (int) (invocation.deadlineMs - System.currentTimeMillis());
    }

    @Override
    public int getMemoryLimitInMB() {
        return Integer.parseInt(Environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"));
    }

    @Override
    public LambdaLogger getLogger() {
        return LambdaRuntime.getLogger();
    }

    @Override
    public String getTenantId() {
        return invocation.tenantId.isEmpty() ? null : invocation.tenantId;
    }

    @Override
    public String getXrayTraceId() {
        return invocation.traceId.isEmpty() ? null : invocation.traceId;
    }

    private static final class Identity implements CognitoIdentity {
        private final Map<?, ?> fields;

        Identity(Map<?, ?> fields) {
            this.fields = fields;
        }

        @Override
        public String getIdentityId() {
            return text(fields, "cognitoIdentityId");
        }

        @Override
        public String getIdentityPoolId() {
            return text(fields, "cognitoIdentityPoolId");
        }
    }

    private static final class Caller implements ClientContext, Client {
        private final Map<?, ?> fields;
        private final Map<?, ?> client;

        Caller(Map<?, ?> fields) {
            this.fields = fields;
            Object client = fields.get("client");
            this.client = client instanceof Map ? (Map<?, ?>) client : null;
        }

        private Map<String, String> strings(String name) {
            Object value = fields.get(name);
            if (!(value instanceof Map)) {
                return null;
            }
            Map<String, String> all = new LinkedHashMap<>();
            for (Object key : ((Map<?, ?>) value).keySet()) {
                all.put((String) key, text((Map<?, ?>) value, (String) key));
            }
            return all;
        }

        @Override
        public Client getClient() {
            return client == null ? null : this;
        }

        @Override
        public Map<String, String> getCustom() {
            return strings("custom");
        }

        @Override
        public Map<String, String> getEnvironment() {
            return strings("env");
        }

        @Override
        public String getInstallationId() {
            return text(client, "installation_id");
        }

        @Override
        public String getAppTitle() {
            return text(client, "app_title");
        }

        @Override
        public String getAppVersionName() {
            return text(client, "app_version_name");
        }

        @Override
        public String getAppVersionCode() {
            return text(client, "app_version_code");
        }

        @Override
        public String getAppPackageName() {
            return text(client, "app_package_name");
        }
    }
}
