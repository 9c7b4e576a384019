package com.amazonaws.services.lambda.runtime;

/** Where logging libraries find the function's logger outside of a handler. */
public final class LambdaRuntime {
    // Set once by the runtime before any of the function's classes is loaded.
    private static volatile LambdaLogger logger = new LambdaLogger() {
        @Override
        public void log(String message) {
            System.out.print(message);
        }

        @Override
        public void log(byte[] message) {
            System.out.write(message, 0, message.length);
        }
    };

    private LambdaRuntime() {}

    public static LambdaLogger getLogger() {
        return logger;
    }
}
