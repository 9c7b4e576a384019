package gatemill.runtime;

import java.lang.reflect.Field;
import java.util.Map;

/**
 * The process's environment variables, which Java reads once and never writes.
 *
 * <p>A client that was started before its function was known gets the variables later. Java keeps its
 * copy in a map behind {@link System#getenv()}; that map is changed by reflection, which the jar's
 * manifest opens. Programs that the function starts inherit from the same map. Native code that calls
 * {@code getenv} itself sees the old ones.
 */
final class Environment {
    private Environment() {}

    static String get(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null ? otherwise : value;
    }

    /** Makes the environment exactly what {@code {"environment":{"NAME":"value"}}} says. */
    static void become(byte[] assignment) {
        Object environment = ((Map<?, ?>) Json.parse(assignment)).get("environment");
        Map<String, String> variables = writable();
        variables.clear();
        for (Map.Entry<?, ?> variable : ((Map<?, ?>) environment).entrySet()) {
            variables.put((String) variable.getKey(), (String) variable.getValue());
        }
        WorkingDirectory.change();
    }

    @SuppressWarnings("unchecked")
    private static Map<String, String> writable() {
        try {
            Map<String, String> shown = System.getenv();
            Field inner = shown.getClass().getDeclaredField("m");
            inner.setAccessible(true);
            return (Map<String, String>) inner.get(shown);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException("java.util is not open to the runtime client", error);
        }
    }
}
