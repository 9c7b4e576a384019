package com.amazonaws.services.lambda.runtime;

/** Who called through an identity pool. */
public interface CognitoIdentity {
    String getIdentityId();

    String getIdentityPoolId();
}
