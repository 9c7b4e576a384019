package gatemill.runtime;

/**
 * The process's working directory, for a client that was started before its function was known.
 *
 * <p>Java cannot change it, so a native library of one function does, which the server lays beside the
 * client. The machine was started with {@code user.dir} naming the function's folder already: Java reads
 * the property once, and resolves by it what it does not leave to the kernel.
 */
final class WorkingDirectory {
    private WorkingDirectory() {}

    /** To be called while the process waits. */
    static void load() {
        String folder = Environment.get("LAMBDA_RUNTIME_DIR", "/var/runtime");
        System.load(folder + "/libworking_directory.so");
    }

    /** Makes the function's folder the working directory. */
    static void change() {
        int result = enter();
        if (result != 0) {
            throw new IllegalStateException("cannot enter /var/task: error " + -result);
        }
    }

    private static native int enter();
}
