// Does what the event's `do` says; every runtime of the tests has a function that does the same.

using System;
using System.Collections;
using System.Collections.Generic;
using System.IO;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Amazon.Lambda.Core;

[assembly: LambdaSerializer(typeof(Subject.TextJsonSerializer))]

namespace Subject
{
    // As the package Amazon.Lambda.Serialization.SystemTextJson has one.
    public class TextJsonSerializer : ILambdaSerializer
    {
        public T Deserialize<T>(Stream input)
        {
            using (var reader = new StreamReader(input))
            {
                return JsonSerializer.Deserialize<T>(reader.ReadToEnd());
            }
        }

        public void Serialize<T>(T value, Stream output)
        {
            using (var writer = new Utf8JsonWriter(output))
            {
                JsonSerializer.Serialize(writer, value, typeof(T) == typeof(object) && value != null ? value.GetType() : typeof(T));
            }
        }
    }

    public class Function
    {
        private int count;

        public async Task<object> Handle(JsonElement e, ILambdaContext context)
        {
            switch (e.GetProperty("do").GetString())
            {
                case "echo": return e.GetProperty("value");
                case "fail": await Task.Yield(); throw new InvalidOperationException("no luck");
                case "sleep":
                    await Task.Delay(TimeSpan.FromSeconds(e.GetProperty("seconds").GetDouble()));
                    return "slept";
                case "exit": Environment.Exit(e.GetProperty("status").GetInt32()); return null;
                case "eat": return Eat();
                case "big": return new string('x', e.GetProperty("size").GetInt32());
                case "length": return e.GetProperty("value").GetString().Length;
                case "environment": return Variables();
                case "context": return Fields(context);
                case "print": return Print();
                case "count": return ++count;
                default: throw new ArgumentException("unknown: " + e);
            }
        }

        private static object Eat()
        {
            var hoard = new List<byte[]>();
            while (true)
            {
                var block = new byte[8 << 20];
                for (int index = 0; index < block.Length; index += 512) block[index] = 1;
                hoard.Add(block);
            }
        }

        private static object Variables()
        {
            var all = new Dictionary<string, string>();
            foreach (DictionaryEntry variable in Environment.GetEnvironmentVariables())
            {
                all[(string)variable.Key] = (string)variable.Value;
            }
            all["cwd"] = Directory.GetCurrentDirectory();
            return all;
        }

        private static object Fields(ILambdaContext context)
        {
            IClientContext client = context.ClientContext;
            return new Dictionary<string, object>
            {
                { "id", context.AwsRequestId }, { "name", context.FunctionName },
                { "version", context.FunctionVersion }, { "arn", context.InvokedFunctionArn },
                { "memory", context.MemoryLimitInMB.ToString() }, { "group", context.LogGroupName },
                { "stream", context.LogStreamName }, { "left", (int)context.RemainingTime.TotalMilliseconds },
                { "tenant", context.TenantId }, { "custom", client == null ? null : client.Custom },
                { "title", client == null ? null : client.Client.AppTitle },
            };
        }

        private static object Print()
        {
            Console.WriteLine("to stdout");
            Console.Error.WriteLine("to stderr");
            Console.Write("no line end");
            return "printed";
        }
    }

    public class Order
    {
        public string Id { get; set; }
        public int Count { get; set; }
        public List<string> Lines { get; set; }
    }

    public class Forms
    {
        public Order Order(Order order)
        {
            order.Count++;
            return order;
        }

        public static async Task<Order> Later(Order order, ILambdaContext context)
        {
            await Task.Delay(1);
            order.Id = context.FunctionName;
            return order;
        }

        public Stream Copy(Stream input, ILambdaContext context)
        {
            return input;
        }

        public async Task<Stream> CopyLater(Stream input)
        {
            var copy = new MemoryStream();
            await input.CopyToAsync(copy);
            return copy;
        }

        public void Nothing(Stream input)
        {
        }

        public async Task NothingLater()
        {
            await Task.Yield();
        }

        public string Fails(Stream input)
        {
            try
            {
                throw new TimeoutException("inside");
            }
            catch (TimeoutException inner)
            {
                throw new InvalidDataException("outside", inner);
            }
        }

        public string Logs(Stream input, ILambdaContext context)
        {
            context.Logger.LogLine("one\ntwo");
            context.Logger.LogWarning("{count} warnings for {name}", 2, "x");
            context.Logger.LogDebug("not shown");
            Console.WriteLine("{0}-{1}", 1, "b");
            return "logged";
        }

        public string Twice(Stream input)
        {
            return "";
        }

        public string Twice(Stream input, ILambdaContext context)
        {
            return "";
        }

        public async void Forgotten(Stream input)
        {
            await Task.Yield();
        }
    }

    public class Broken
    {
        public Broken()
        {
            throw new NotSupportedException("not today");
        }

        public void Handle(Stream input)
        {
        }
    }
}
