// The function's own JSON serializer: named by a LambdaSerializer attribute on the method or its
// assembly, and called through the interface ILambdaSerializer of the function's Amazon.Lambda.Core.

using System;
using System.Collections.Generic;
using System.IO;
using System.Reflection;
using System.Runtime.ExceptionServices;

namespace Gatemill.Runtime
{
    internal sealed class Serializer
    {
        private const string AttributeName = "Amazon.Lambda.Core.LambdaSerializerAttribute";
        private const string Interface = "Amazon.Lambda.Core.ILambdaSerializer";

        private readonly object serializer;
        private readonly MethodInfo deserialize;
        private readonly MethodInfo serialize;
        // By the type; a handler has one of each.
        private readonly Dictionary<Type, MethodInfo> readers = new Dictionary<Type, MethodInfo>();
        private readonly Dictionary<Type, MethodInfo> writers = new Dictionary<Type, MethodInfo>();

        // Null when there is no attribute: then handlers take and give streams.
        internal static Serializer Of(MethodInfo method, Assembly assembly)
        {
            Attribute found = Find(method.GetCustomAttributes()) ?? Find(assembly.GetCustomAttributes());
            if (found == null) return null;
            Type attribute = found.GetType();
            PropertyInfo property = attribute.GetProperty("SerializerType");
            if (property == null)
            {
                throw new LambdaValidationException(
                    "The '" + attribute.FullName + "' class is invalid: no 'SerializerType' property detected.");
            }
            var type = property.GetValue(found) as Type;
            if (type == null)
            {
                throw new LambdaValidationException("The 'SerializerType' property on attribute class '"
                    + attribute.FullName + "' is not set.");
            }
            return new Serializer(type);
        }

        private static Attribute Find(IEnumerable<Attribute> attributes)
        {
            foreach (Attribute one in attributes)
            {
                if (one.GetType().FullName == AttributeName) return one;
            }
            return null;
        }

        internal static void Require(Serializer serializer, MethodInfo method, string doing, Type type)
        {
            if (serializer != null) return;
            throw new LambdaValidationException(
                "Could not find the LambdaSerializerAttribute on the assembly '"
                + method.DeclaringType.Assembly.GetName().Name + "' or method '" + method.Name
                + "' while attempting to " + doing + " data of type '" + type.FullName
                + "'. To use types other than System.IO.Stream as input/output parameters, the assembly or Lambda "
                + "function should be annotated with " + AttributeName + ".");
        }

        private Serializer(Type type)
        {
            Type shape = Array.Find(type.GetInterfaces(), one => one.FullName == Interface);
            if (shape == null)
            {
                throw new LambdaValidationException("The '" + type.FullName
                    + "' class is invalid: it does not implement the 'ILambdaSerializer' interface.");
            }
            if (type.GetConstructor(Type.EmptyTypes) == null)
            {
                throw new LambdaValidationException("The indicated serializer '" + type.FullName
                    + "' does not define a public zero-parameter constructor.");
            }
            serializer = Activator.CreateInstance(type);
            deserialize = shape.GetMethod("Deserialize");
            serialize = shape.GetMethod("Serialize");
        }

        internal object Deserialize(Type type, Stream input)
        {
            return Call(Of(readers, deserialize, type), input);
        }

        internal void Serialize(Type type, object value, Stream output)
        {
            Call(Of(writers, serialize, type), value, output);
        }

        private static MethodInfo Of(Dictionary<Type, MethodInfo> known, MethodInfo method, Type type)
        {
            MethodInfo made;
            if (!known.TryGetValue(type, out made))
            {
                made = method.MakeGenericMethod(type);
                known[type] = made;
            }
            return made;
        }

        private object Call(MethodInfo method, params object[] arguments)
        {
            try
            {
                return method.Invoke(serializer, arguments);
            }
            catch (TargetInvocationException error)
            {
                ExceptionDispatchInfo.Capture(error.InnerException).Throw();
                throw;
            }
        }
    }
}
