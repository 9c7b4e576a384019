package gatemill.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import java.io.IOError;
import java.io.IOException;

/**
 * The program that a Java runtime starts: loads the handler, then answers one invocation after the
 * other on descriptor 3 until the server closes it.
 *
 * <p>{@link Channel} frames, {@link Handlers} finds the function, {@link InvocationContext} is what
 * it is given, {@link Mapper} turns JSON into objects and back, {@link Logs} writes what it says,
 * {@link Fault} says what went wrong. No library is used: whatever this program had on its class path
 * would stand before the function's own.
 */
public final class Bootstrap {
    private static final String TRACE_PROPERTY = "com.amazonaws.xray.traceHeader";
    private static final int INIT_FAILED = 1;

    private Bootstrap() {}

    /** Its last argument may be {@code --parked}: then it waits for ASSIGN before anything else. */
    public static void main(String[] arguments) throws IOException {
        Channel channel = new Channel();
        Logs.takeStreams();
        if (arguments.length > 0 && arguments[arguments.length - 1].equals("--parked")) {
            WorkingDirectory.load();
            Rehearsal.play();
            channel.send(Channel.PARKED, new byte[0]);
            byte[] assignment = channel.receiveAssignment();
            if (assignment == null) {
                return;
            }
            Environment.become(assignment);
        }
        Logs.setUp();
        Handler handler = load(channel);
        Logs.flush();
        channel.send(Channel.READY, new byte[0]);
        serve(channel, handler);
        // Threads of the customer's that never end would keep an orderly exit waiting for ever.
        Runtime.getRuntime().halt(0);
    }

    private static Handler load(Channel channel) throws IOException {
        String root = Environment.get("LAMBDA_TASK_ROOT", "/var/task");
        ClassLoader loader = new TaskClassLoader(root, "/opt/java/lib");
        Thread.currentThread().setContextClassLoader(loader);
        try {
            return Handlers.load(Environment.get("_HANDLER", ""), loader);
        } catch (Fault fault) {
            Logs.error(fault.reportableText());
            Logs.flush();
            channel.send(Channel.INIT_ERROR, fault.body());
            System.exit(INIT_FAILED);
            throw fault;
        }
    }

    private static void serve(Channel channel, Handler handler) throws IOException {
        while (true) {
            Invocation invocation = channel.receive();
            if (invocation == null) {
                return;
            }
            if (invocation.traceId.isEmpty()) {
                System.clearProperty(TRACE_PROPERTY);
            } else {
                System.setProperty(TRACE_PROPERTY, invocation.traceId);
            }
            Logs.begin(invocation);
            boolean mayGoOn = answer(channel, handler, invocation);
            // A handler's leftover interrupt would end the next read.
            Thread.interrupted();
            if (!mayGoOn) {
                System.exit(INIT_FAILED);
            }
        }
    }

    /** Whether the machine is fit for another invocation. */
    private static boolean answer(Channel channel, Handler handler, Invocation invocation)
            throws IOException {
        Answer answer = new Answer();
        try {
            Context context = new InvocationContext(invocation);
            handler.handle(invocation.event, answer, context);
        } catch (Throwable thrown) {
            Fault.trim(thrown);
            boolean isFault = thrown instanceof Fault;
            Fault fault = isFault ? (Fault) thrown : Fault.of(thrown);
            Logs.error(fault.reportableText());
            Logs.flush();
            channel.send(Channel.ERROR, fault.body());
            return !(thrown instanceof VirtualMachineError || thrown instanceof IOError);
        }
        Logs.flush();
        channel.send(Channel.RESPONSE, answer.bytes(), answer.size());
        return true;
    }

    /** Something that answers events: bytes in, bytes out. */
    interface Handler {
        void handle(byte[] event, Answer answer, Context context) throws Throwable;
    }

    /** The bytes of an answer, without the copy that {@code toByteArray} makes. */
    static final class Answer extends java.io.ByteArrayOutputStream {
        Answer() {
            super(1024);
        }

        byte[] bytes() {
            return buf;
        }
    }
}
