package subject;

import com.amazonaws.services.lambda.runtime.ClientContext;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.io.File;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Does what the event's {@code do} says; every runtime of the tests has one that does the same. */
public class Subject implements RequestHandler<Map<String, Object>, Object> {
    private int count;

    @Override
    public Object handleRequest(Map<String, Object> event, Context context) {
        switch ((String) event.get("do")) {
            case "echo": return event.get("value");
            case "fail": throw new IllegalStateException("no luck");
            case "sleep": return sleep(((Number) event.get("seconds")).doubleValue());
            case "exit": System.exit((Integer) event.get("status"));
            case "eat": return eat();
            case "big": return text((Integer) event.get("size"));
            case "length": return ((String) event.get("value")).length();
            case "environment": return environment();
            case "context": return fields(context);
            case "print": return print();
            case "count": return ++count;
            default: throw new IllegalArgumentException("unknown: " + event);
        }
    }

    private static Object sleep(double seconds) {
        try {
            Thread.sleep((long) (seconds * 1000));
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
        return "slept";
    }

    private static Object eat() {
        List<Object> hoard = new ArrayList<>();
        while (true) {
            java.nio.ByteBuffer block = java.nio.ByteBuffer.allocateDirect(4 << 20);
            while (block.hasRemaining()) {
                block.putLong(1);
            }
            hoard.add(block);
        }
    }

    private static String text(int size) {
        char[] all = new char[size];
        java.util.Arrays.fill(all, 'x');
        return new String(all);
    }

    private static Object environment() {
        Map<String, Object> all = new LinkedHashMap<>(System.getenv());
        all.put("cwd", new File("").getAbsolutePath());
        return all;
    }

    private static Object fields(Context context) {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("id", context.getAwsRequestId());
        all.put("name", context.getFunctionName());
        all.put("version", context.getFunctionVersion());
        all.put("arn", context.getInvokedFunctionArn());
        all.put("memory", String.valueOf(context.getMemoryLimitInMB()));
        all.put("group", context.getLogGroupName());
        all.put("stream", context.getLogStreamName());
        all.put("left", context.getRemainingTimeInMillis());
        all.put("tenant", context.getTenantId());
        ClientContext client = context.getClientContext();
        all.put("custom", client == null ? null : client.getCustom());
        all.put("title", client == null ? null : client.getClient().getAppTitle());
        return all;
    }

    private static Object print() {
        System.out.println("to stdout");
        System.err.println("to stderr");
        System.out.print("no line end");
        return "printed";
    }
}
