// A function with a Main of its own, which asks for invocations as Amazon.Lambda.RuntimeSupport does.

using System;
using System.Net.Http;
using System.Text;
using System.Threading.Tasks;

namespace Executable
{
    public static class Program
    {
        public static void Main(string[] arguments)
        {
            Serve().GetAwaiter().GetResult();
        }

        private static async Task Serve()
        {
            string api = Environment.GetEnvironmentVariable("AWS_LAMBDA_RUNTIME_API");
            string runtime = "http://" + api + "/2018-06-01/runtime/invocation/";
            using (var client = new HttpClient())
            {
                client.Timeout = TimeSpan.FromHours(12);
                for (int count = 1; ; count++)
                {
                    HttpResponseMessage next = await client.GetAsync(runtime + "next");
                    string id = string.Join("", next.Headers.GetValues("Lambda-Runtime-Aws-Request-Id"));
                    string value = await next.Content.ReadAsStringAsync();
                    Console.WriteLine("call " + count);
                    string body = "{\"count\":" + count + ",\"event\":" + value + "}";
                    var content = new StringContent(body, Encoding.UTF8, "application/json");
                    await client.PostAsync(runtime + id + "/response", content);
                }
            }
        }
    }
}
