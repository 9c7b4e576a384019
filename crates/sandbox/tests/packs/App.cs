// Says where a parked process thinks that it is, and lets the intruder in.

using System;
using System.Diagnostics;
using System.IO;
using System.Text;
using System.Text.Json;
using System.Collections.Generic;

public static class App
{
    public static Stream Handle(Stream input)
    {
        var start = new ProcessStartInfo("/usr/bin/python3", "-I -S /var/task/intruder.py");
        start.RedirectStandardOutput = true;
        start.UseShellExecute = false;
        using (Process python = Process.Start(start))
        {
            var seen = new Dictionary<string, object>();
            seen["directory"] = Directory.GetCurrentDirectory();
            seen["opens"] = File.Exists("App.dll");
            seen["variable"] = Environment.GetEnvironmentVariable("COLOUR");
            seen["intruder"] = python.StandardOutput.ReadToEnd();
            return new MemoryStream(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(seen)));
        }
    }
}
