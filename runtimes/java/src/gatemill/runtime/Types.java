package gatemill.runtime;

import java.lang.reflect.GenericArrayType;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.lang.reflect.WildcardType;
import java.util.HashMap;
import java.util.Map;

/** Generic types, resolved: which class stands for a type, and what its variables are bound to. */
final class Types {
    private Types() {}

    /** The arguments that {@code type} gives the interface, or null when it gives none. */
    static Type[] arguments(Type type, Class<?> wanted) {
        Map<TypeVariable<?>, Type> bindings = bindings(type, null);
        return find(raw(type, null), bindings, wanted);
    }

    private static Type[] find(
            Class<?> type, Map<TypeVariable<?>, Type> bindings, Class<?> wanted) {
        if (type == null) {
            return null;
        }
        Type[] parents = new Type[type.getInterfaces().length + 1];
        System.arraycopy(type.getGenericInterfaces(), 0, parents, 0, parents.length - 1);
        parents[parents.length - 1] = type.getGenericSuperclass();
        for (Type parent : parents) {
            Class<?> raw = parent == null ? null : raw(parent, bindings);
            if (raw == null || !wanted.isAssignableFrom(raw)) {
                continue;
            }
            if (raw == wanted) {
                return parent instanceof ParameterizedType
                        ? resolved(((ParameterizedType) parent).getActualTypeArguments(), bindings)
                        : null;
            }
            return find(raw, bindings(parent, bindings), wanted);
        }
        return null;
    }

    private static Type[] resolved(Type[] types, Map<TypeVariable<?>, Type> bindings) {
        Type[] all = new Type[types.length];
        for (int index = 0; index < types.length; index++) {
            all[index] = substitute(types[index], bindings);
        }
        return all;
    }

    /** The type with its variables replaced, also those inside, such as that of a {@code List<T>}. */
    private static Type substitute(Type type, Map<TypeVariable<?>, Type> bindings) {
        Type resolved = resolve(type, bindings);
        if (!(resolved instanceof ParameterizedType)) {
            return resolved;
        }
        ParameterizedType generic = (ParameterizedType) resolved;
        return new Bound(generic, resolved(generic.getActualTypeArguments(), bindings));
    }

    /** A generic type with other arguments. */
    private static final class Bound implements ParameterizedType {
        private final ParameterizedType generic;
        private final Type[] arguments;

        Bound(ParameterizedType generic, Type[] arguments) {
            this.generic = generic;
            this.arguments = arguments;
        }

        @Override
        public Type[] getActualTypeArguments() {
            return arguments.clone();
        }

        @Override
        public Type getRawType() {
            return generic.getRawType();
        }

        @Override
        public Type getOwnerType() {
            return generic.getOwnerType();
        }
    }

    /** A type variable's binding; any other type, and an unbound variable, as it is. */
    static Type resolve(Type type, Map<TypeVariable<?>, Type> bindings) {
        Type bound = type instanceof TypeVariable && bindings != null ? bindings.get(type) : null;
        return bound == null ? type : bound;
    }

    /** What the variables of a type's class stand for, given what stands for those around it. */
    static Map<TypeVariable<?>, Type> bindings(Type type, Map<TypeVariable<?>, Type> outer) {
        Map<TypeVariable<?>, Type> all = new HashMap<>();
        Type current = type;
        while (current != null) {
            Class<?> raw = raw(current, outer);
            if (current instanceof ParameterizedType) {
                Type[] arguments = ((ParameterizedType) current).getActualTypeArguments();
                TypeVariable<?>[] variables = raw.getTypeParameters();
                for (int index = 0; index < variables.length; index++) {
                    Type bound = resolve(arguments[index], outer);
                    all.put(variables[index], resolve(bound, all));
                }
            }
            // Fields and methods of a superclass speak in that class's variables.
            current = raw == null ? null : raw.getGenericSuperclass();
        }
        return all;
    }

    /** The class that values of a type are of. */
    static Class<?> raw(Type type, Map<TypeVariable<?>, Type> bindings) {
        if (type instanceof Class) {
            return (Class<?>) type;
        }
        if (type instanceof ParameterizedType) {
            return (Class<?>) ((ParameterizedType) type).getRawType();
        }
        if (type instanceof WildcardType) {
            return raw(((WildcardType) type).getUpperBounds()[0], bindings);
        }
        if (type instanceof GenericArrayType) {
            Type component = ((GenericArrayType) type).getGenericComponentType();
            return java.lang.reflect.Array.newInstance(raw(component, bindings), 0).getClass();
        }
        Type bound = resolve(type, bindings);
        return raw(bound == type ? ((TypeVariable<?>) type).getBounds()[0] : bound, bindings);
    }
}
