package gatemill.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * An initialisation and an invocation of handlers of its own, for a process that waits for its function:
 * what the machine loads, links and compiles for it, the first call need not wait for.
 *
 * <p>Nothing is left of it that a function could see: no environment, no log line, no open file.
 */
final class Rehearsal {
    private static final String EVENT =
            "{\"text\":\"\\u00e4\\n\",\"numbers\":[1,2.5,-3e2],\"on\":true,\"none\":null,\"map\":{\"k\":\"v\"}}";
    private static final int ROUNDS = 20;

    /** Made for the handlers that are methods. */
    public Rehearsal() {}

    static void play() {
        ClassLoader loader = new TaskClassLoader("/var/runtime", "/var/runtime");
        String name = Rehearsal.class.getName();
        for (int round = 0; round < ROUNDS; round++) {
            for (String part : new String[] {"$Maps", "$Streams", "::bean", "::any"}) {
                answer(Handlers.load(name + part, loader));
            }
        }
        // A class that is not there is looked for everywhere.
        answer(Handlers.load("rehearsal.Absent", loader));
        Logs.rehearse();
        joinTexts();
    }

    /** What classes of Java 9 and later join texts with; this one is of Java 8, for all of them. */
    private static void joinTexts() {
        try {
            Class.forName("java.lang.invoke.StringConcatFactory")
                    .getMethod("makeConcatWithConstants", MethodHandles.Lookup.class, String.class,
                            MethodType.class, String.class, Object[].class)
                    .invoke(null, MethodHandles.lookup(), "join",
                            MethodType.methodType(String.class, Object.class, int.class),
                            "a \u0001 and \u0001", new Object[0]);
        } catch (ReflectiveOperationException absent) {
            return;
        }
    }

    private static void answer(Bootstrap.Handler handler) {
        try {
            String meta = "id\0" + 0 + "\0arn\0\0\0\0";
            Invocation invocation = new Invocation(meta, EVENT.getBytes(StandardCharsets.UTF_8));
            handler.handle(invocation.event, new Bootstrap.Answer(), new InvocationContext(invocation));
        } catch (Throwable thrown) {
            Fault.trim(thrown);
            Fault fault = thrown instanceof Fault ? (Fault) thrown : Fault.of(thrown);
            fault.body();
            fault.reportableText();
        }
    }

    public static Bean bean(Bean bean) {
        return bean;
    }

    public Map<String, Object> any(Map<String, Object> event, Context context) {
        Map<String, Object> answer = new HashMap<>(event);
        answer.put("id", context.getAwsRequestId());
        answer.put("left", context.getRemainingTimeInMillis());
        return Collections.unmodifiableMap(answer);
    }

    /** One form of handler. */
    public static final class Maps implements RequestHandler<Map<String, Object>, Object> {
        @Override
        public Object handleRequest(Map<String, Object> event, Context context) {
            return event;
        }
    }

    /** Another. */
    public static final class Streams implements RequestStreamHandler {
        @Override
        public void handleRequest(InputStream input, OutputStream output, Context context)
                throws IOException {
            output.write(input.read());
        }
    }

    /** What a method of a function takes and gives. */
    public static final class Bean {
        private String text;
        private List<Double> numbers;
        private boolean on;
        private Map<String, String> map;

        public String getText() {
            return text;
        }

        public void setText(String text) {
            this.text = text;
        }

        public List<Double> getNumbers() {
            return numbers;
        }

        public void setNumbers(List<Double> numbers) {
            this.numbers = numbers;
        }

        public boolean isOn() {
            return on;
        }

        public void setOn(boolean on) {
            this.on = on;
        }

        public Map<String, String> getMap() {
            return map;
        }

        public void setMap(Map<String, String> map) {
            this.map = map;
        }
    }
}
