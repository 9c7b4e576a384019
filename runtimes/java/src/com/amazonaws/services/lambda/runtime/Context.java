package com.amazonaws.services.lambda.runtime;

/**
 * One invocation's context.
 *
 * <p>This package declares the interface between functions and the runtime, whose names and
 * signatures AWS publishes as {@code aws-lambda-java-core}. As on AWS the runtime brings it and comes
 * first on the class path, so that a function finds it whether or not its package has a copy.
 */
public interface Context {
    String getAwsRequestId();

    String getLogGroupName();

    String getLogStreamName();

    String getFunctionName();

    String getFunctionVersion();

    String getInvokedFunctionArn();

    CognitoIdentity getIdentity();

    ClientContext getClientContext();

    int getRemainingTimeInMillis();

    int getMemoryLimitInMB();

    LambdaLogger getLogger();

    default String getTenantId() {
        return null;
    }

    default String getXrayTraceId() {
        return null;
    }
}
