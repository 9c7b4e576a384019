package gatemill.runtime;

import java.lang.reflect.Array;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.lang.reflect.WildcardType;
import java.math.BigDecimal;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/**
 * JSON to objects and back, with the liberties that AWS's runtime takes: unknown properties are
 * ignored, null for a primitive is zero, a single value may stand for a list, an unknown enum constant
 * and an empty text in an object's place are null, absent properties keep their defaults, null
 * properties and the null values of maps are not written.
 *
 * <p>{@link Beans} knows the properties of the function's own classes, {@link Scalars} the values that
 * JSON has one text or number for.
 */
final class Mapper {
    private Mapper() {}

    /** An event as an object of the handler's type. */
    static Object read(byte[] json, Type type) {
        return read(Json.parse(json), type, null);
    }

    static Object read(Object node, Type type, Map<TypeVariable<?>, Type> bindings) {
        Type resolved = Types.resolve(type, bindings);
        if (resolved instanceof WildcardType || resolved instanceof TypeVariable) {
            resolved = Types.raw(resolved, bindings);
        }
        Class<?> raw = Types.raw(resolved, bindings);
        if (raw == Object.class) {
            return natural(node);
        }
        if (raw == Optional.class) {
            return Optional.ofNullable(
                    node == null ? null : read(node, argument(resolved, 0), bindings));
        }
        if (node == null || raw == Void.class || raw == void.class) {
            return Scalars.absent(raw);
        }
        if (Scalars.isScalar(raw)) {
            return Scalars.read(single(node), raw);
        }
        if (raw.isArray()) {
            return array(node, resolved, raw, bindings);
        }
        if (Collection.class.isAssignableFrom(raw) || raw == Iterable.class) {
            return collection(node, resolved, raw, bindings);
        }
        if (Map.class.isAssignableFrom(raw)) {
            return map(node, resolved, raw, bindings);
        }
        return bean(node, resolved, raw, bindings);
    }

    /** What stands for a JSON value where no type is asked for. */
    private static Object natural(Object node) {
        if (node instanceof BigDecimal) {
            return ((BigDecimal) node).doubleValue();
        }
        if (node instanceof List) {
            List<Object> list = asList(node);
            list.replaceAll(Mapper::natural);
        } else if (node instanceof Map) {
            @SuppressWarnings("unchecked")
            Map<String, Object> map = (Map<String, Object>) node;
            map.replaceAll((name, value) -> natural(value));
        }
        return node;
    }

    @SuppressWarnings("unchecked")
    private static List<Object> asList(Object node) {
        return node instanceof List ? (List<Object>) node : Collections.singletonList(node);
    }

    private static Object single(Object node) {
        if (node instanceof List && ((List<?>) node).size() == 1) {
            return ((List<?>) node).get(0);
        }
        return node;
    }

    private static Type argument(Type type, int index) {
        return type instanceof ParameterizedType
                ? ((ParameterizedType) type).getActualTypeArguments()[index]
                : Object.class;
    }

    private static Object array(
            Object node, Type type, Class<?> raw, Map<TypeVariable<?>, Type> bindings) {
        Type component = type instanceof GenericArrayType
                ? ((GenericArrayType) type).getGenericComponentType()
                : raw.getComponentType();
        if (isEmptyText(node)) {
            return null;
        }
        List<Object> items = asList(node);
        Object array = Array.newInstance(Types.raw(component, bindings), items.size());
        for (int index = 0; index < items.size(); index++) {
            Array.set(array, index, read(items.get(index), component, bindings));
        }
        return array;
    }

    private static boolean isEmptyText(Object node) {
        return node instanceof String && ((String) node).isEmpty();
    }

    private static Object collection(
            Object node, Type type, Class<?> raw, Map<TypeVariable<?>, Type> bindings) {
        if (isEmptyText(node)) {
            return null;
        }
        Type[] given = raw == Iterable.class || raw == Collection.class
                ? null : Types.arguments(type, Collection.class);
        Type item = given == null ? argument(type, 0) : given[0];
        Collection<Object> all = newCollection(raw);
        for (Object each : asList(node)) {
            all.add(read(each, item, bindings));
        }
        return all;
    }

    @SuppressWarnings("unchecked")
    private static Collection<Object> newCollection(Class<?> raw) {
        if (raw.isAssignableFrom(ArrayList.class)) {
            return new ArrayList<>();
        }
        if (raw == Set.class) {
            return new LinkedHashSet<>();
        }
        if (SortedSet.class.isAssignableFrom(raw) && raw.isAssignableFrom(TreeSet.class)) {
            return new TreeSet<>();
        }
        if (raw == Queue.class || raw == Deque.class) {
            return new ArrayDeque<>();
        }
        return (Collection<Object>) Beans.of(raw).create();
    }

    private static Object map(
            Object node, Type type, Class<?> raw, Map<TypeVariable<?>, Type> bindings) {
        if (isEmptyText(node)) {
            return null;
        }
        if (!(node instanceof Map)) {
            throw mismatch(node, raw);
        }
        Type[] types = raw == Map.class ? null : Types.arguments(type, Map.class);
        Type key = types == null ? argument(type, 0) : types[0];
        Type value = types == null ? argument(type, 1) : types[1];
        Map<Object, Object> all = newMap(raw);
        for (Map.Entry<?, ?> entry : ((Map<?, ?>) node).entrySet()) {
            all.put(read(entry.getKey(), key, bindings), read(entry.getValue(), value, bindings));
        }
        return all;
    }

    @SuppressWarnings("unchecked")
    private static Map<Object, Object> newMap(Class<?> raw) {
        if (raw.isAssignableFrom(LinkedHashMap.class)) {
            return new LinkedHashMap<>();
        }
        if (SortedMap.class.isAssignableFrom(raw) && raw.isAssignableFrom(TreeMap.class)) {
            return new TreeMap<>();
        }
        if (raw == ConcurrentMap.class) {
            return new ConcurrentHashMap<>();
        }
        return (Map<Object, Object>) Beans.of(raw).create();
    }

    private static Object bean(
            Object given, Type type, Class<?> raw, Map<TypeVariable<?>, Type> outer) {
        Object node = single(given);
        if (isEmptyText(node) || node instanceof List && ((List<?>) node).isEmpty()) {
            return null;
        }
        if (!(node instanceof Map)) {
            throw mismatch(node, raw);
        }
        return Beans.of(raw).read((Map<?, ?>) node, Types.bindings(type, outer));
    }

    static IllegalArgumentException mismatch(Object node, Class<?> raw) {
        String kind = node instanceof Map ? "Object value" : node instanceof List ? "Array value"
                : node instanceof String ? "String value" : node instanceof Boolean ? "Boolean value"
                : "Number value";
        return new IllegalArgumentException(
                "Cannot deserialize value of type `" + raw.getTypeName() + "` from " + kind);
    }

    /** A result as JSON in UTF-8. */
    static byte[] write(Object value) {
        StringBuilder out = new StringBuilder(256);
        write(value, out, 0);
        return out.toString().getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    static void write(Object value, StringBuilder out, int depth) {
        if (depth > Json.DEPTH_MAX) {
            throw new IllegalArgumentException("Document nesting depth exceeds " + Json.DEPTH_MAX
                    + ": does it contain itself?");
        }
        if (value == null || Scalars.isScalar(value.getClass())) {
            Scalars.write(value, out);
        } else if (value instanceof Optional) {
            write(((Optional<?>) value).orElse(null), out, depth + 1);
        } else if (value instanceof Map) {
            writeMap((Map<?, ?>) value, out, depth);
        } else if (value instanceof Iterable && !(value instanceof java.nio.file.Path)) {
            writeItems((Iterable<?>) value, out, depth);
        } else if (value.getClass().isArray()) {
            List<Object> items = new ArrayList<>();
            for (int index = 0; index < Array.getLength(value); index++) {
                items.add(Array.get(value, index));
            }
            writeItems(items, out, depth);
        } else {
            Beans.of(value.getClass()).write(value, out, depth);
        }
    }

    private static void writeMap(Map<?, ?> map, StringBuilder out, int depth) {
        String separator = "{";
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            if (entry.getKey() == null) {
                throw new IllegalArgumentException("Null key for a Map not allowed in JSON");
            }
            if (entry.getValue() == null) {
                continue;
            }
            out.append(separator);
            Json.writeString(Scalars.key(entry.getKey()), out);
            out.append(':');
            write(entry.getValue(), out, depth + 1);
            separator = ",";
        }
        out.append(separator.equals("{") ? "{}" : "}");
    }

    private static void writeItems(Iterable<?> items, StringBuilder out, int depth) {
        String separator = "[";
        for (Object item : items) {
            out.append(separator);
            write(item, out, depth + 1);
            separator = ",";
        }
        out.append(separator.equals("[") ? "[]" : "]");
    }
}
