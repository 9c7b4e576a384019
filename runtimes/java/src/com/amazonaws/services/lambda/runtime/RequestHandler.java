package com.amazonaws.services.lambda.runtime;

/** A handler of objects; their types come from its type arguments. */
public interface RequestHandler<I, O> {
    O handleRequest(I input, Context context);
}
