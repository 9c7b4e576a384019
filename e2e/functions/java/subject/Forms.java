package subject;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import com.amazonaws.services.lambda.runtime.logging.LogLevel;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.math.BigDecimal;
import java.util.Date;
import java.util.List;
import java.util.Map;

/** The forms that a Java handler may have, and the objects that it may take and give. */
public class Forms {
    /** A bean of beans. */
    public static class Order {
        private String id;
        private int count;
        private List<Line> lines;
        private Map<String, BigDecimal> prices;
        private Colour colour;
        private Date at;
        private boolean paid;
        public Long total;

        public String getId() { return id; }
        public void setId(String id) { this.id = id; }
        public int getCount() { return count; }
        public void setCount(int count) { this.count = count; }
        public List<Line> getLines() { return lines; }
        public void setLines(List<Line> lines) { this.lines = lines; }
        public Map<String, BigDecimal> getPrices() { return prices; }
        public void setPrices(Map<String, BigDecimal> prices) { this.prices = prices; }
        public Colour getColour() { return colour; }
        public void setColour(Colour colour) { this.colour = colour; }
        public Date getAt() { return at; }
        public void setAt(Date at) { this.at = at; }
        public boolean isPaid() { return paid; }
        public void setPaid(boolean paid) { this.paid = paid; }
    }

    /** A part of an order. */
    public static class Line {
        public String article;
        public double weight;
    }

    /** An enumeration. */
    public enum Colour { RED, GREEN }

    /** A generic superclass that binds the handler's types. */
    public abstract static class Base<T> implements RequestHandler<List<T>, T> {
        @Override
        public T handleRequest(List<T> all, Context context) {
            return all.get(all.size() - 1);
        }
    }

    /** Its elements are lines, and not maps. */
    public static class Generic extends Base<Line> {
        @Override
        public Line handleRequest(List<Line> all, Context context) {
            Line last = super.handleRequest(all, context);
            last.weight *= 2;
            return last;
        }
    }

    /** Bytes in, bytes out. */
    public static class Streams implements RequestStreamHandler {
        @Override
        public void handleRequest(InputStream input, OutputStream output, Context context)
                throws IOException {
            byte[] buffer = new byte[8192];
            for (int count = input.read(buffer); count > 0; count = input.read(buffer)) {
                output.write(buffer, 0, count);
            }
        }
    }

    /** Its constructor fails. */
    public static class Broken implements RequestHandler<Object, Object> {
        public Broken() {
            throw new IllegalArgumentException("not today");
        }

        @Override
        public Object handleRequest(Object event, Context context) {
            return null;
        }
    }

    public Order order(Order order, Context context) {
        order.setCount(order.getCount() + 1);
        return order;
    }

    public static String join(List<String> words) {
        return String.join(" ", words);
    }

    public int twice(int number) {
        return 2 * number;
    }

    public String nothing() {
        return "nothing taken";
    }

    public void quiet(Object event) {
    }

    public String onlyContext(Context context) {
        return context.getFunctionName();
    }

    public void copy(InputStream input, OutputStream output, Context context) throws IOException {
        new Streams().handleRequest(input, output, context);
    }

    public void fails(Object event) throws Exception {
        throw new Exception("outside", new IllegalStateException("inside"));
    }

    public String logs(Object event, Context context) {
        context.getLogger().log("one\ntwo\n");
        context.getLogger().log("a warning", LogLevel.WARN);
        context.getLogger().log("a trace", LogLevel.TRACE);
        return "logged";
    }

    public Object loop(Object event) {
        Object[] self = new Object[1];
        self[0] = self;
        return self;
    }
}
