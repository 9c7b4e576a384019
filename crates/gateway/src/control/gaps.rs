//! Members of requests that are not honoured, each with why. A handler refuses one with its entry here.

use gatemill_api::{apigateway as rest, apigatewayv2 as api};
use gatemill_wire::gaps;

gaps! {
    /// Every member of an operation of API Gateway that is not honoured.
    pub GAPS;

    DOMAIN_ENDPOINT_TYPE: [api::CreateDomainName, api::UpdateDomainName]
        "domainNameConfigurations.endpointType", "other than REGIONAL", Refused,
        "there is one region and no edge";
    DOMAIN_ADDRESSES: [api::CreateDomainName, api::UpdateDomainName]
        "domainNameConfigurations.ipAddressType", "dualstack", Refused,
        "the operator says which addresses are listened on";
    DOMAIN_SECURITY_POLICY: [api::CreateDomainName, api::UpdateDomainName]
        "domainNameConfigurations.securityPolicy", "other than TLS_1_2", Refused,
        "a policy is of the listener and not of a domain";
    DOMAIN_OWNERSHIP: [api::CreateDomainName, api::UpdateDomainName]
        "domainNameConfigurations.ownershipVerificationCertificateArn", "", Refused,
        "nobody verifies the ownership of names";
    CLIENT_CERTIFICATE: [api::CreateStage, api::UpdateStage]
        "clientCertificateId", "", Refused,
        "certificates for integrations are not built";
    LOG_TO_STREAM: [api::CreateStage, api::UpdateStage]
        "accessLogSettings.destinationArn", "of a delivery stream", Refused,
        "logs go to log groups";
    DOMAIN_NAME_ID: [api::CreateRoutingRule, api::DeleteRoutingRule, api::GetRoutingRule, api::ListRoutingRules, api::PutRoutingRule]
        "domainNameId", "", Refused,
        "domains with ids are private ones of REST APIs";
    HTTP_CONTENT_HANDLING: [api::CreateIntegration, api::UpdateIntegration]
        "contentHandlingStrategy", "of an HTTP API", Refused,
        "AWS has it for WebSocket APIs";
    HTTP_PASSTHROUGH: [api::CreateIntegration, api::UpdateIntegration]
        "passthroughBehavior", "other than WHEN_NO_MATCH, of an HTTP API", Refused,
        "AWS has it for WebSocket APIs";
    HTTP_TEMPLATES: [api::CreateIntegration, api::UpdateIntegration]
        "requestTemplates", "of an HTTP API", Refused,
        "AWS has it for WebSocket APIs";
    HTTP_TEMPLATE_SELECTION: [api::CreateIntegration, api::UpdateIntegration]
        "templateSelectionExpression", "of an HTTP API", Refused,
        "AWS has it for WebSocket APIs";
    LISTENER_URI: [api::CreateIntegration, api::UpdateIntegration]
        "integrationUri", "with the ARN of a listener or a service", Refused,
        "a host has neither; name the server by its URL";
    CREDENTIALS: [api::CreateIntegration, api::UpdateIntegration]
        "credentialsArn", "of an integration without a subtype", Refused,
        "functions say by their own policies who may invoke them";
    CLIENT_CREDENTIALS: [api::CreateIntegration, api::UpdateIntegration]
        "credentialsArn", "with the credentials of the client", Refused,
        "calls are signed with the operator's keys";
    AUTHORIZER_CREDENTIALS: [api::CreateAuthorizer, api::UpdateAuthorizer]
        "authorizerCredentialsArn", "", Refused,
        "functions say by their own policies who may invoke them";
    IDENTITY_VALIDATION: [api::CreateAuthorizer, api::UpdateAuthorizer]
        "identityValidationExpression", "", Refused,
        "AWS has it for WebSocket APIs, and takes it without effect";
    HTTP_API_KEY: [api::CreateRoute, api::UpdateRoute]
        "apiKeyRequired", "true, of an HTTP API", Refused,
        "AWS has it for WebSocket APIs";
    HTTP_MODEL_SELECTION: [api::CreateRoute, api::UpdateRoute]
        "modelSelectionExpression", "of an HTTP API", Refused,
        "AWS has it for WebSocket APIs";
    HTTP_MODELS: [api::CreateRoute, api::UpdateRoute]
        "requestModels", "of an HTTP API", Refused,
        "AWS has it for WebSocket APIs";
    HTTP_REQUEST_PARAMETERS: [api::CreateRoute, api::UpdateRoute]
        "requestParameters", "of an HTTP API", Refused,
        "AWS has it for WebSocket APIs";
    HTTP_ROUTE_RESPONSE: [api::CreateRoute, api::UpdateRoute]
        "routeResponseSelectionExpression", "of an HTTP API", Refused,
        "AWS has it for WebSocket APIs";
    QUICK_CREDENTIALS: [api::CreateApi, api::UpdateApi]
        "credentialsArn", "", Refused,
        "functions say by their own policies who may invoke them";
    HTTP_KEY_SELECTION: [api::CreateApi, api::UpdateApi]
        "apiKeySelectionExpression", "other than the default, of an HTTP API", Refused,
        "AWS has it for WebSocket APIs";
    ADDRESSES: [api::CreateApi, api::UpdateApi]
        "ipAddressType", "dualstack", Refused,
        "the operator says which addresses are listened on";
    WS_CONNECTION_ID: [api::CreateIntegration, api::UpdateIntegration]
        "connectionId", "of a WebSocket API", Refused,
        "VPC links are of HTTP APIs";
    WS_CONNECTION_TYPE: [api::CreateIntegration, api::UpdateIntegration]
        "connectionType", "other than INTERNET, of a WebSocket API", Refused,
        "VPC links are of HTTP APIs";
    WS_CREDENTIALS: [api::CreateIntegration, api::UpdateIntegration]
        "credentialsArn", "of a WebSocket API", Refused,
        "functions say by their own policies who may invoke them";
    WS_SUBTYPE: [api::CreateIntegration, api::UpdateIntegration]
        "integrationSubtype", "of a WebSocket API", Refused,
        "AWS has it for HTTP APIs";
    WS_RESPONSE_PARAMETERS: [api::CreateIntegration, api::UpdateIntegration]
        "responseParameters", "of a WebSocket API", Refused,
        "AWS has it for HTTP APIs";
    WS_TLS: [api::CreateIntegration, api::UpdateIntegration]
        "tlsConfig", "of a WebSocket API", Refused,
        "AWS has it for HTTP APIs";
    DISCONNECT_API_KEY: [api::CreateRoute, api::UpdateRoute]
        "apiKeyRequired", "true, of the route $disconnect", Refused,
        "the end of a connection cannot be refused";
    STAGE_KEYS: [rest::CreateApiKey]
        "stageKeys", "", Refused,
        "keys are for stages through usage plans";
    KEY_PATCH: [rest::UpdateApiKey]
        "patchOperations.path", "/labels or /stages", Refused,
        "keys are for stages through usage plans";
    PRODUCT_CODE: [rest::UpdateUsagePlan]
        "patchOperations.path", "/productCode", Refused,
        "nothing is sold here";
    SERVICE_ELSEWHERE: [api::CreateIntegration, api::UpdateIntegration]
        "integrationSubtype", "of a service without an endpoint in the server's configuration", Refused,
        "nothing would be called";
    DISTINCT_ID: [rest::CreateApiKey]
        "generateDistinctId", "", WithoutEffect,
        "the id of a key is never its value, as in AWS";
    TAGS_PAGE: [rest::GetTags]
        "limit", "", WithoutEffect,
        "AWS takes it without effect";
    TAGS_POSITION: [rest::GetTags]
        "position", "", WithoutEffect,
        "AWS takes it without effect";
    CERTIFICATE_NAME: [api::CreateDomainName, api::UpdateDomainName]
        "domainNameConfigurations.certificateName", "", WithoutEffect,
        "a certificate is found by its ARN or by the host";
    UPLOAD_DATE: [api::CreateDomainName, api::UpdateDomainName]
        "domainNameConfigurations.certificateUploadDate", "", WithoutEffect,
        "it is what the service says of a domain";
    HOSTED_ZONE: [api::CreateDomainName, api::UpdateDomainName]
        "domainNameConfigurations.hostedZoneId", "", WithoutEffect,
        "it is what the service says of a domain";
    DOMAIN_TARGET: [api::CreateDomainName, api::UpdateDomainName]
        "domainNameConfigurations.apiGatewayDomainName", "", WithoutEffect,
        "it is what the service says of a domain";
    DOMAIN_STATUS: [api::CreateDomainName, api::UpdateDomainName]
        "domainNameConfigurations.domainNameStatus", "", WithoutEffect,
        "it is what the service says of a domain";
    DOMAIN_STATUS_MESSAGE: [api::CreateDomainName, api::UpdateDomainName]
        "domainNameConfigurations.domainNameStatusMessage", "", WithoutEffect,
        "it is what the service says of a domain";
}
