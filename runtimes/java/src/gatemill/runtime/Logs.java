package gatemill.runtime;

import com.amazonaws.services.lambda.runtime.LambdaLogger;
import com.amazonaws.services.lambda.runtime.LambdaRuntime;
import com.amazonaws.services.lambda.runtime.LambdaRuntimeInternal;
import com.amazonaws.services.lambda.runtime.logging.LogFormat;
import com.amazonaws.services.lambda.runtime.logging.LogLevel;
import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.io.UnsupportedEncodingException;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What the function prints and logs, in AWS's text and JSON formats.
 *
 * <p>A record of several lines stays one event because its inner line ends are carriage returns.
 * Everything is in the pipe before an answer is on the channel: {@link #flush} sees to it.
 */
final class Logs implements LambdaLogger {
    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);

    // Of the process, kept beside what the function may replace them with.
    private static PrintStream out;
    private static PrintStream err;
    private static boolean isJson;
    private static LogLevel lowest = LogLevel.UNDEFINED;
    private static volatile Invocation current;

    private Logs() {}

    /** Makes both streams write UTF-8, line by line, whatever the machine's locale is. */
    static void takeStreams() {
        out = stream(FileDescriptor.out);
        err = stream(FileDescriptor.err);
        System.setOut(out);
        System.setErr(err);
    }

    private static PrintStream stream(FileDescriptor descriptor) {
        try {
            BufferedOutputStream buffered =
                    new BufferedOutputStream(new FileOutputStream(descriptor));
            return new PrintStream(buffered, true, "UTF-8");
        } catch (UnsupportedEncodingException error) {
            throw new IllegalStateException("every Java has UTF-8", error);
        }
    }

    /** Reads the function's log settings and puts the logger where libraries look for it. */
    static void setUp() {
        isJson = LogFormat.fromString(System.getenv("AWS_LAMBDA_LOG_FORMAT")) == LogFormat.JSON;
        lowest = LogLevel.fromString(System.getenv("AWS_LAMBDA_LOG_LEVEL"));
        try {
            Field logger = LambdaRuntime.class.getDeclaredField("logger");
            logger.setAccessible(true);
            logger.set(null, new Logs());
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException("LambdaRuntime is ours and has this field", error);
        }
    }

    /** Records from now on belong to this invocation. */
    static void begin(Invocation invocation) {
        current = invocation;
        if (LambdaRuntimeInternal.getUseLog4jAppender()) {
            tellLog4j("org.apache.log4j.MDC", Object.class, invocation.requestId);
            tellLog4j("org.apache.logging.log4j.ThreadContext", String.class, invocation.requestId);
        }
    }

    private static void tellLog4j(String name, Class<?> valueClass, String requestId) {
        try {
            ClassLoader loader = Thread.currentThread().getContextClassLoader();
            loader.loadClass(name).getMethod("put", String.class, valueClass)
                    .invoke(null, "AWSRequestId", requestId);
        } catch (ReflectiveOperationException absent) {
            // A function has one of the two generations of log4j; the other is not there.
            return;
        }
    }

    @Override
    public void log(String message) {
        log(message, LogLevel.UNDEFINED);
    }

    @Override
    public void log(String message, LogLevel level) {
        if (level != LogLevel.UNDEFINED && level.compareTo(lowest) < 0) {
            return;
        }
        if (isJson) {
            writeRecord(level == LogLevel.UNDEFINED ? LogLevel.INFO : level, message);
        } else {
            writeEvent(level == LogLevel.UNDEFINED ? message : "[" + level + "] " + message);
        }
    }

    @Override
    public void log(byte[] message) {
        log(message, LogLevel.UNDEFINED);
    }

    @Override
    public void log(byte[] message, LogLevel level) {
        log(new String(message, StandardCharsets.UTF_8), level);
    }

    /** Logs a failure the way AWS reports it. */
    static void error(String text) {
        if (isJson) {
            writeRecord(LogLevel.ERROR, text);
        } else {
            writeEvent(text);
        }
    }

    /** A record as bytes that nobody sees, for a process that waits for its function. */
    static void rehearse() {
        record(LogLevel.INFO, "text");
    }

    private static void writeRecord(LogLevel level, String message) {
        writeEvent(new String(record(level, message), StandardCharsets.UTF_8));
    }

    private static byte[] record(LogLevel level, String message) {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("timestamp", TIME.format(Instant.now()));
        fields.put("level", level.name());
        fields.put("message", message);
        Invocation invocation = current;
        if (invocation != null) {
            fields.put("AWSRequestId", invocation.requestId);
            if (!invocation.tenantId.isEmpty()) {
                fields.put("tenantId", invocation.tenantId);
            }
        }
        return Json.bytes(fields);
    }

    private static void writeEvent(String text) {
        String line = String.valueOf(text);
        int end = line.length();
        while (end > 0 && line.charAt(end - 1) == '\n') {
            end--;
        }
        byte[] bytes = (line.substring(0, end).replace('\n', '\r') + "\n")
                .getBytes(StandardCharsets.UTF_8);
        out.write(bytes, 0, bytes.length);
        out.flush();
    }

    /** Puts all that was printed into the pipe. */
    static void flush() {
        System.out.flush();
        System.err.flush();
        out.flush();
        err.flush();
    }
}
