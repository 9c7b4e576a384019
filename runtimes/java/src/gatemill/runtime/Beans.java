package gatemill.runtime;

import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Member;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The properties of one class: getters and setters, public fields, and the components of records.
 *
 * <p>Names are made the way {@code java.beans} makes them, without that package, which is large and not
 * everywhere. The classes of AWS's events library are written in one capitalisation and their JSON in
 * several, so theirs are found whatever their case is.
 */
final class Beans {
    private static final String EVENTS = "com.amazonaws.services.lambda.runtime.events.";
    // One entry a class that a function maps; its own classes are as many as it has.
    private static final Map<Class<?>, Beans> KNOWN = new ConcurrentHashMap<>();

    private final Class<?> type;
    private final Map<String, Property> properties = new LinkedHashMap<>();
    private final Map<String, Property> byLowerCase;
    private final Method[] components;

    /** One property: how to get it, and how to set it; either may be missing. */
    private static final class Property {
        private Member getter;
        private Member setter;
        private Field field;
    }

    static Beans of(Class<?> type) {
        Beans known = KNOWN.get(type);
        if (known == null) {
            known = new Beans(type);
            KNOWN.put(type, known);
        }
        return known;
    }

    private Beans(Class<?> type) {
        this.type = type;
        components = components(type);
        addFields(type);
        if (components == null) {
            addMethods(type);
        }
        inferSetters();
        byLowerCase = type.getName().startsWith(EVENTS) ? new LinkedHashMap<>() : null;
        if (byLowerCase != null) {
            properties.forEach((name, property) ->
                    byLowerCase.put(name.toLowerCase(Locale.ROOT), property));
        }
    }

    /** The accessors of a record, in order, or null; by name, since old Javas have no records. */
    private static Method[] components(Class<?> type) {
        Class<?> parent = type.getSuperclass();
        if (parent == null || !parent.getName().equals("java.lang.Record")) {
            return null;
        }
        try {
            Object[] found = (Object[]) Class.class.getMethod("getRecordComponents").invoke(type);
            Method[] all = new Method[found.length];
            for (int index = 0; index < found.length; index++) {
                Method accessor = found[index].getClass().getMethod("getAccessor");
                all[index] = (Method) accessor.invoke(found[index]);
                all[index].setAccessible(true);
            }
            return all;
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    private Property property(String name) {
        return properties.computeIfAbsent(name, key -> new Property());
    }

    /** Fields come first, so that what is written stands in the order in which it was declared. */
    private void addFields(Class<?> type) {
        Deque<Class<?>> line = new ArrayDeque<>();
        for (Class<?> each = type; each != null && each != Object.class;) {
            line.addFirst(each);
            each = each.getSuperclass();
        }
        for (Class<?> each : line) {
            for (Field field : each.getDeclaredFields()) {
                int modifiers = field.getModifiers();
                if (Modifier.isStatic(modifiers) || field.isSynthetic()) {
                    continue;
                }
                Property property = property(field.getName());
                property.field = field;
                if (Modifier.isPublic(modifiers) && !Modifier.isTransient(modifiers)) {
                    property.getter = field;
                    property.setter = Modifier.isFinal(modifiers) ? null : field;
                }
            }
        }
        if (components != null) {
            for (Method component : components) {
                property(component.getName()).getter = component;
            }
        }
    }

    private void addMethods(Class<?> type) {
        for (Method method : type.getMethods()) {
            boolean isOurs = !Modifier.isStatic(method.getModifiers()) && !method.isBridge()
                    && method.getDeclaringClass() != Object.class;
            if (!isOurs) {
                continue;
            }
            String name = method.getName();
            int parameters = method.getParameterCount();
            Class<?> returned = method.getReturnType();
            boolean isBoolean = returned == boolean.class || returned == Boolean.class;
            if (parameters == 0 && returned != void.class && hasPrefix(name, "get")) {
                property(decapitalized(name, 3)).getter = method;
            } else if (parameters == 0 && isBoolean && hasPrefix(name, "is")) {
                Property property = property(decapitalized(name, 2));
                property.getter = property.getter instanceof Method ? property.getter : method;
            } else if (parameters == 1 && hasPrefix(name, "set")) {
                property(decapitalized(name, 3)).setter = method;
            }
        }
    }

    /** A private field that a getter shows may be set; one that nothing shows is no property. */
    private void inferSetters() {
        properties.values().removeIf(property -> property.getter == null && property.setter == null);
        for (Property property : properties.values()) {
            Field field = property.field;
            if (property.setter == null && field != null && components == null
                    && !Modifier.isFinal(field.getModifiers())) {
                property.setter = field;
            }
            open(property.getter);
            open(property.setter);
        }
    }

    private static void open(Member member) {
        try {
            if (member instanceof Field) {
                ((Field) member).setAccessible(true);
            } else if (member instanceof Method) {
                ((Method) member).setAccessible(true);
            }
        } catch (RuntimeException closed) {
            // A class of Java's own, which shows what is public and nothing else.
            return;
        }
    }

    private static boolean hasPrefix(String name, String prefix) {
        return name.length() > prefix.length() && name.startsWith(prefix);
    }

    /** {@code getURL} is URL and {@code getUrl} is url. */
    private static String decapitalized(String name, int from) {
        String rest = name.substring(from);
        boolean isAcronym = rest.length() > 1 && Character.isUpperCase(rest.charAt(0))
                && Character.isUpperCase(rest.charAt(1));
        return isAcronym ? rest : Character.toLowerCase(rest.charAt(0)) + rest.substring(1);
    }

    /** A new object of the class. */
    Object create() {
        try {
            Constructor<?> constructor = type.getDeclaredConstructor();
            if (!Modifier.isPublic(constructor.getModifiers())
                    || !Modifier.isPublic(type.getModifiers())) {
                constructor.setAccessible(true);
            }
            return constructor.newInstance();
        } catch (InvocationTargetException error) {
            throw new IllegalArgumentException(error.getCause());
        } catch (ReflectiveOperationException error) {
            throw new IllegalArgumentException("Cannot construct instance of `"
                    + type.getTypeName() + "` (no Creators, like default constructor, exist)");
        }
    }

    Object read(Map<?, ?> node, Map<TypeVariable<?>, Type> bindings) {
        if (components != null) {
            return readRecord(node, bindings);
        }
        Object object = create();
        for (Map.Entry<?, ?> entry : node.entrySet()) {
            Property property = find((String) entry.getKey());
            if (property != null && property.setter != null) {
                set(object, property.setter, entry.getValue(), bindings);
            }
        }
        return object;
    }

    private Property find(String name) {
        Property exact = properties.get(name);
        return exact != null || byLowerCase == null ? exact
                : byLowerCase.get(name.toLowerCase(Locale.ROOT));
    }

    private void set(
            Object object, Member setter, Object value, Map<TypeVariable<?>, Type> bindings) {
        try {
            if (setter instanceof Field) {
                Field field = (Field) setter;
                field.set(object, Mapper.read(value, field.getGenericType(), bindings));
            } else {
                Method method = (Method) setter;
                Type wanted = method.getGenericParameterTypes()[0];
                method.invoke(object, Mapper.read(value, wanted, bindings));
            }
        } catch (InvocationTargetException error) {
            throw new IllegalArgumentException(error.getCause());
        } catch (IllegalAccessException error) {
            throw new IllegalArgumentException(error);
        }
    }

    private Object readRecord(Map<?, ?> node, Map<TypeVariable<?>, Type> bindings) {
        Class<?>[] types = new Class<?>[components.length];
        Object[] values = new Object[components.length];
        for (int index = 0; index < components.length; index++) {
            Method component = components[index];
            types[index] = component.getReturnType();
            Object value = node.get(component.getName());
            values[index] = Mapper.read(value, component.getGenericReturnType(), bindings);
        }
        try {
            Constructor<?> constructor = type.getDeclaredConstructor(types);
            constructor.setAccessible(true);
            return constructor.newInstance(values);
        } catch (InvocationTargetException error) {
            throw new IllegalArgumentException(error.getCause());
        } catch (ReflectiveOperationException error) {
            throw new IllegalArgumentException(error);
        }
    }

    void write(Object object, StringBuilder out, int depth) {
        String separator = "{";
        for (Map.Entry<String, Property> entry : properties.entrySet()) {
            Member getter = entry.getValue().getter;
            Object value = getter == null ? null : get(object, getter);
            if (value == null) {
                continue;
            }
            out.append(separator);
            Json.writeString(entry.getKey(), out);
            out.append(':');
            Mapper.write(value, out, depth + 1);
            separator = ",";
        }
        out.append(separator.equals("{") ? "{}" : "}");
    }

    private static Object get(Object object, Member getter) {
        try {
            return getter instanceof Field ? ((Field) getter).get(object)
                    : ((Method) getter).invoke(object);
        } catch (InvocationTargetException error) {
            throw new IllegalArgumentException(error.getCause());
        } catch (IllegalAccessException error) {
            throw new IllegalArgumentException(error);
        }
    }
}
