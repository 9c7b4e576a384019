// An initialisation and invocations of handlers of its own, for a process that waits for its function: what
// the machine loads and compiles for them, the first call need not wait for. Nothing is left of it that a
// function could see.

using System;
using System.Collections.Generic;
using System.IO;
using System.Reflection;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;
using Amazon.Lambda.Core;

namespace Gatemill.Runtime
{
    internal static class Rehearsal
    {
        private const int Rounds = 3;
        private const string Event = "{\"Text\":\"\\u00e4\\n\",\"Numbers\":[1,2.5],\"On\":true,\"None\":null}";

        internal static void Play()
        {
            Assembly own = typeof(Rehearsal).Assembly;
            Assemblies.Rehearse(own.Location);
            string type = typeof(RehearsalHandlers).FullName;
            for (int round = 0; round < Rounds; round++)
            {
                foreach (string method in new[] { "Bean", "Later", "Copy", "Map", "Fails", "Absent" })
                {
                    Answer(own, type, method);
                }
            }
            Logs.Rehearse();
        }

        private static void Answer(Assembly own, string type, string method)
        {
            try
            {
                string meta = "id\0" + 0 + "\0arn\0\0\0\0";
                var invocation = new Invocation(meta, Encoding.UTF8.GetBytes(Event));
                Handler.Of(own, own.GetName().Name, type, method).Answer(invocation, new MemoryStream());
            }
            catch (Exception error)
            {
                Fault.Body(error);
                error.ToString();
            }
        }
    }

    // The handlers; the machine makes and calls them as it does a function's.
    public sealed class RehearsalHandlers
    {
        [LambdaSerializer(typeof(RehearsalSerializer))]
        public RehearsalBean Bean(RehearsalBean bean, ILambdaContext context)
        {
            bean.Text = context.AwsRequestId;
            return bean;
        }

        [LambdaSerializer(typeof(RehearsalSerializer))]
        public async Task<RehearsalBean> Later(RehearsalBean bean)
        {
            await Task.Yield();
            return bean;
        }

        public Stream Copy(Stream input, ILambdaContext context)
        {
            return context.RemainingTime.TotalSeconds > 0 ? Stream.Null : input;
        }

        [LambdaSerializer(typeof(RehearsalSerializer))]
        public Dictionary<string, object> Map(Dictionary<string, object> map)
        {
            return map;
        }

        public static void Fails(Stream input)
        {
            throw new InvalidOperationException("rehearsed");
        }
    }

    public sealed class RehearsalBean
    {
        public string Text { get; set; }

        public List<double> Numbers { get; set; }

        public bool On { get; set; }
    }

    public sealed class RehearsalSerializer : ILambdaSerializer
    {
        public T Deserialize<T>(Stream stream)
        {
            var text = new MemoryStream();
            stream.CopyTo(text);
            return JsonSerializer.Deserialize<T>(text.ToArray());
        }

        public void Serialize<T>(T value, Stream stream)
        {
            byte[] text = JsonSerializer.SerializeToUtf8Bytes(value);
            stream.Write(text, 0, text.Length);
        }
    }
}

// What the client looks for by name, for the rehearsal alone: a function brings its own, in an assembly of
// its own, and nothing ever takes the one for the other.
namespace Amazon.Lambda.Core
{
    public interface ILambdaContext
    {
        string AwsRequestId { get; }

        TimeSpan RemainingTime { get; }
    }

    public interface ILambdaSerializer
    {
        T Deserialize<T>(Stream stream);

        void Serialize<T>(T value, Stream stream);
    }

    [AttributeUsage(AttributeTargets.Method)]
    public sealed class LambdaSerializerAttribute : Attribute
    {
        public LambdaSerializerAttribute(Type type)
        {
            SerializerType = type;
        }

        public Type SerializerType { get; private set; }
    }
}
