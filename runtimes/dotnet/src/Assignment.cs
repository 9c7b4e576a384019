// What a process that was started before its function was known is told of it.

using System;
using System.Collections;
using System.IO;
using System.Text;
using System.Text.Json;

namespace Gatemill.Runtime
{
    internal static class Assignment
    {
        // Makes the environment exactly what {"environment":{"NAME":"value"}} says. Native code that
        // calls getenv itself sees the old one: .NET keeps a copy of its own.
        internal static void Take(byte[] assignment)
        {
            foreach (object name in new ArrayList(Environment.GetEnvironmentVariables().Keys))
            {
                Environment.SetEnvironmentVariable((string)name, null);
            }
            using (JsonDocument document = JsonDocument.Parse(Encoding.UTF8.GetString(assignment)))
            {
                JsonElement all = document.RootElement.GetProperty("environment");
                foreach (JsonProperty variable in all.EnumerateObject())
                {
                    Environment.SetEnvironmentVariable(variable.Name, variable.Value.GetString());
                }
            }
            Directory.SetCurrentDirectory(Handler.TaskRoot);
        }
    }
}
