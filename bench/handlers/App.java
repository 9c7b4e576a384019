import java.util.Map;

/** The handler whose cold start is measured, in Java: a class of the default package. */
public class App {
    public Map<String, Object> handler(Map<String, Object> event) {
        return Map.of("statusCode", 200, "body", "{\"message\": \"hello\"}");
    }
}
