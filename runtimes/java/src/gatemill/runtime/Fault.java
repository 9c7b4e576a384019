package gatemill.runtime;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What went wrong, in AWS's words: the error object for the caller and the text for the log. */
final class Fault extends RuntimeException {
    private static final long serialVersionUID = 1;
    private static final String OWN_PACKAGE = Fault.class.getPackage().getName() + ".";
    // A chain of causes that is longer than this says nothing that the first ones do not.
    private static final int CAUSES_MAX = 16;

    private final String type;
    private final transient Throwable origin;
    private final boolean showsTrace;

    private Fault(String message, Throwable origin, boolean showsTrace) {
        super(message, null, false, false);
        this.type = origin == null ? null : origin.getClass().getName();
        this.origin = origin;
        this.showsTrace = showsTrace;
    }

    /** A failure that the runtime found by itself. */
    static Fault saying(String message) {
        return new Fault(message, null, false);
    }

    /** A failure whose message is the runtime's and whose type is an exception's. */
    static Fault saying(String message, Throwable origin) {
        return new Fault(message, trim(origin), false);
    }

    /** What the handler threw. */
    static Fault of(Throwable thrown) {
        return new Fault(message(thrown), trim(thrown), true);
    }

    private static String message(Throwable thrown) {
        String message = thrown.getLocalizedMessage();
        return message == null ? thrown.getClass().getName() : message;
    }

    /** Takes the runtime's own frames, and what called them, out of all stack traces. */
    static Throwable trim(Throwable thrown) {
        Set<Throwable> seen = Collections.newSetFromMap(new IdentityHashMap<>());
        trim(thrown, seen);
        return thrown;
    }

    private static void trim(Throwable thrown, Set<Throwable> seen) {
        if (thrown == null || seen.size() >= CAUSES_MAX || !seen.add(thrown)) {
            return;
        }
        StackTraceElement[] trace = thrown.getStackTrace();
        for (int index = 0; index < trace.length; index++) {
            if (trace[index].getClassName().startsWith(OWN_PACKAGE)) {
                thrown.setStackTrace(java.util.Arrays.copyOf(trace, cut(trace, index)));
                break;
            }
        }
        trim(thrown.getCause(), seen);
        for (Throwable suppressed : thrown.getSuppressed()) {
            trim(suppressed, seen);
        }
    }

    /** Without the frames of the reflection by which the handler was called. */
    private static int cut(StackTraceElement[] trace, int end) {
        while (end > 0 && isReflection(trace[end - 1].getClassName())) {
            end--;
        }
        return end;
    }

    private static boolean isReflection(String name) {
        return name.startsWith("java.lang.reflect.") || name.startsWith("jdk.internal.reflect.")
                || name.startsWith("sun.reflect.") || name.startsWith("java.lang.invoke.");
    }

    /** The error object in JSON. */
    byte[] body() {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("errorMessage", getMessage());
        if (type != null) {
            fields.put("errorType", type);
        }
        if (showsTrace) {
            fields.put("stackTrace", trace(origin));
            addCause(fields, origin, 0);
        }
        return Json.bytes(fields);
    }

    private static void addCause(Map<String, Object> fields, Throwable thrown, int depth) {
        Throwable cause = thrown.getCause();
        if (cause == null || cause == thrown || depth == CAUSES_MAX) {
            return;
        }
        Map<String, Object> inner = new LinkedHashMap<>();
        inner.put("errorMessage", message(cause));
        inner.put("errorType", cause.getClass().getName());
        inner.put("stackTrace", trace(cause));
        addCause(inner, cause, depth + 1);
        fields.put("cause", inner);
    }

    private static List<String> trace(Throwable thrown) {
        List<String> lines = new ArrayList<>();
        for (StackTraceElement element : thrown.getStackTrace()) {
            lines.add(element.toString());
        }
        return lines;
    }

    /** What the log says: the message, the type and Java's own printed form. */
    String reportableText() {
        if (origin == null) {
            return getMessage();
        }
        StringWriter text = new StringWriter();
        origin.printStackTrace(new PrintWriter(text));
        return getMessage() + ": " + type + "\n" + text;
    }
}
