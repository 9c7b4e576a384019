package gatemill.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.CustomPojoSerializer;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;

/**
 * From the handler's name to something that answers: {@code package.Class} for one of the handler
 * interfaces, {@code package.Class::method} for a method of any class.
 *
 * <p>As on AWS, what a handler's constructor or static initialiser throws fails the initialisation;
 * a class or method that is not there fails each invocation.
 */
final class Handlers {
    private static final byte[] NULL = "null".getBytes(StandardCharsets.UTF_8);

    private Handlers() {}

    /** Throws {@link Fault} when the initialisation fails. */
    static Bootstrap.Handler load(String name, ClassLoader loader) {
        String[] parts = name.split("::", -1);
        boolean isWellFormed = parts.length <= 2 && !parts[0].isEmpty()
                && (parts.length == 1 || !parts[1].isEmpty());
        if (!isWellFormed) {
            return failing(Fault.saying("Invalid handler: `" + name + "'"));
        }
        Class<?> type;
        try {
            type = Class.forName(parts[0], true, loader);
        } catch (ClassNotFoundException error) {
            return failing(Fault.saying("Class not found: " + parts[0], error));
        } catch (Throwable error) {
            String reason = error.getMessage() == null ? "" : ": " + error.getMessage();
            throw Fault.saying("Error loading class " + parts[0] + reason, error);
        }
        CustomPojoSerializer serializer = customSerializer(loader);
        if (parts.length == 2) {
            return method(type, parts[1], serializer);
        }
        if (RequestStreamHandler.class.isAssignableFrom(type)) {
            return streamHandler(type);
        }
        if (RequestHandler.class.isAssignableFrom(type)) {
            return requestHandler(type, serializer);
        }
        return failing(Fault.saying(
                "Class does not implement an appropriate handler interface: " + type.getName()));
    }

    private static Bootstrap.Handler failing(Fault fault) {
        return (event, answer, context) -> {
            throw fault;
        };
    }

    private static CustomPojoSerializer customSerializer(ClassLoader loader) {
        CustomPojoSerializer found = null;
        try {
            for (CustomPojoSerializer one : ServiceLoader.load(CustomPojoSerializer.class, loader)) {
                if (found != null) {
                    throw Fault.saying("Too many serializers were found in the function's package");
                }
                found = one;
            }
        } catch (ServiceConfigurationError error) {
            throw Fault.saying("The function's serializer cannot be loaded", error);
        }
        return found;
    }

    private static Object instance(Class<?> type) throws Fault, InstanceFault {
        Constructor<?> constructor;
        try {
            constructor = type.getConstructor();
        } catch (NoSuchMethodException error) {
            boolean isInner =
                    type.getEnclosingClass() != null && !Modifier.isStatic(type.getModifiers());
            throw new InstanceFault(Fault.saying("Class " + type.getName() + (isInner
                    ? " cannot be instantiated because it is a non-static inner class"
                    : " has no public zero-argument constructor"), new Exception(error)));
        }
        try {
            constructor.setAccessible(true);
            return constructor.newInstance();
        } catch (InvocationTargetException error) {
            throw Fault.of(error.getCause());
        } catch (ReflectiveOperationException error) {
            throw new InstanceFault(Fault.of(error));
        }
    }

    /** A handler that cannot be made, through no exception of its own: each invocation says so. */
    private static final class InstanceFault extends Exception {
        private static final long serialVersionUID = 1;
        private final Fault fault;

        InstanceFault(Fault fault) {
            this.fault = fault;
        }
    }

    private static Bootstrap.Handler streamHandler(Class<?> type) {
        try {
            RequestStreamHandler handler = (RequestStreamHandler) instance(type);
            return (event, answer, context) ->
                    handler.handleRequest(new ByteArrayInputStream(event), answer, context);
        } catch (InstanceFault error) {
            return failing(error.fault);
        }
    }

    @SuppressWarnings("unchecked")
    private static Bootstrap.Handler requestHandler(Class<?> type, CustomPojoSerializer serializer) {
        Type[] types = Types.arguments(type, RequestHandler.class);
        if (types == null) {
            return failing(Fault.saying("Class " + type.getName()
                    + " does not implement RequestHandler with concrete type parameters"));
        }
        for (Type argument : types) {
            if (argument instanceof TypeVariable
                    && Types.raw(argument, null) == Object.class) {
                return failing(Fault.saying("Class " + type.getName()
                        + " does not implement RequestHandler with concrete type parameters: "
                        + "parameter " + argument + " has no upper bound."));
            }
        }
        try {
            RequestHandler<Object, Object> handler = (RequestHandler<Object, Object>) instance(type);
            return objects(types[0], types[1], serializer, handler::handleRequest);
        } catch (InstanceFault error) {
            return failing(error.fault);
        }
    }

    /** Calls the customer's code with objects. */
    private interface Call {
        Object on(Object input, Context context) throws Throwable;
    }

    private static Bootstrap.Handler objects(
            Type input, Type output, CustomPojoSerializer serializer, Call call) {
        boolean isVoid = output == void.class || output == Void.class;
        return (event, answer, context) -> {
            Object given = null;
            try {
                if (input != null) {
                    given = serializer == null ? Mapper.read(event, input)
                            : serializer.fromJson(new ByteArrayInputStream(event), input);
                }
            } catch (RuntimeException error) {
                throw new RuntimeException("An error occurred during JSON parsing", error);
            }
            Object result = call.on(given, context);
            try {
                if (isVoid) {
                    answer.write(NULL);
                } else if (serializer == null) {
                    answer.write(Mapper.write(result));
                } else {
                    serializer.toJson(result, answer, output);
                }
            } catch (RuntimeException error) {
                String message = "An error occurred during JSON serialization of response";
                throw new RuntimeException(message, error);
            }
        };
    }

    /** AWS's choice among overloads: no bridges, then the most parameters, a Context counting twice. */
    private static final Comparator<Method> PREFERENCE = Comparator
            .comparing(Method::isBridge)
            .thenComparing(Handlers::weight, Comparator.reverseOrder());

    private static int weight(Method method) {
        Class<?>[] types = method.getParameterTypes();
        boolean endsInContext = types.length > 0 && types[types.length - 1] == Context.class;
        return types.length + (endsInContext ? 1 : 0);
    }

    private static Bootstrap.Handler method(
            Class<?> type, String name, CustomPojoSerializer serializer) {
        List<Method> candidates = new ArrayList<>();
        try {
            for (Method method : type.getMethods()) {
                if (method.getName().equals(name)) {
                    candidates.add(method);
                }
            }
        } catch (NoClassDefFoundError error) {
            String message = "Error loading method " + name + " on class " + type.getName();
            return failing(Fault.saying(message, error));
        }
        candidates.sort(PREFERENCE);
        for (Method method : candidates) {
            Shape shape = Shape.of(method);
            if (shape == null) {
                continue;
            }
            try {
                Object target =
                        Modifier.isStatic(method.getModifiers()) ? null : instance(type);
                method.setAccessible(true);
                return shape.handler(method, target, serializer);
            } catch (InstanceFault error) {
                return failing(error.fault);
            }
        }
        return failing(Fault.saying("No public method named " + name
                + " with appropriate method signature found on class " + type.getName()));
    }

    /** What a handler method takes, in this order: an event or a stream, a stream, a context. */
    private static final class Shape {
        private Type event;
        private boolean takesInput;
        private boolean takesOutput;
        private boolean takesContext;

        /** Null when the method cannot be a handler. */
        static Shape of(Method method) {
            Shape shape = new Shape();
            Type[] types = method.getGenericParameterTypes();
            int next = 0;
            int end = types.length;
            if (end > 0 && types[end - 1] == Context.class) {
                shape.takesContext = true;
                end--;
            }
            if (next < end && types[next] == InputStream.class) {
                shape.takesInput = true;
                next++;
            }
            if (next < end && types[next] == OutputStream.class) {
                shape.takesOutput = true;
                next++;
            }
            boolean isStream = shape.takesInput || shape.takesOutput;
            if (next < end && !isStream && types[next] != Context.class) {
                shape.event = types[next++];
            }
            return next == end ? shape : null;
        }

        Bootstrap.Handler handler(Method method, Object target, CustomPojoSerializer serializer) {
            if (!takesInput && !takesOutput) {
                Call call = (input, context) ->
                        invoke(method, target, arguments(input, null, context));
                return objects(event, method.getGenericReturnType(), serializer, call);
            }
            return (bytes, answer, context) -> {
                InputStream input = takesInput ? new ByteArrayInputStream(bytes) : null;
                invoke(method, target, arguments(input, answer, context));
                if (!takesOutput) {
                    answer.write(NULL);
                }
            };
        }

        private Object[] arguments(Object first, OutputStream output, Context context) {
            List<Object> all = new ArrayList<>(3);
            if (event != null || takesInput) {
                all.add(first);
            }
            if (takesOutput) {
                all.add(output);
            }
            if (takesContext) {
                all.add(context);
            }
            return all.toArray();
        }

        private static Object invoke(Method method, Object target, Object[] arguments)
                throws Throwable {
            try {
                return method.invoke(target, arguments);
            } catch (InvocationTargetException error) {
                throw error.getCause();
            }
        }
    }
}
