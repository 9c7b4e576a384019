// What the function prints and logs, in AWS's text and JSON formats.
//
// Since .NET 6, AWS puts time, request id and level before every line that is written to the console as
// a line. A record of several lines stays one event because its inner line ends are carriage returns.

using System;
using System.Globalization;
using System.IO;
using System.Text;

namespace Gatemill.Runtime
{
    internal static class Logs
    {
        // Trace to critical, as Microsoft's logging has them; None is a record without a level.
        private static readonly string[] Names =
            { "Trace", "Debug", "Information", "Warning", "Error", "Critical" };
        private static readonly string[] Labels = { "trce", "dbug", "info", "warn", "fail", "crit" };
        private const int Information = 2;
        private const int ErrorLevel = 4;

        private static TextWriter output;
        private static bool isJson;
        private static bool isUnformatted;
        private static int lowest;
        private static volatile Invocation current;

        // Replaces the console's writers.
        internal static void SetUp()
        {
            output = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false));
            output = TextWriter.Synchronized(output);
            isJson = Is("AWS_LAMBDA_LOG_FORMAT", "JSON");
            isUnformatted = Is("AWS_LAMBDA_HANDLER_LOG_FORMAT", "Unformatted");
            lowest = Level(Environment.GetEnvironmentVariable("AWS_LAMBDA_HANDLER_LOG_LEVEL"));
            if (lowest < 0) lowest = Level(Environment.GetEnvironmentVariable("AWS_LAMBDA_LOG_LEVEL"));
            if (lowest < 0) lowest = Information;
            Console.SetOut(new Lines(Information));
            Console.SetError(new Lines(ErrorLevel));
        }

        private static bool Is(string variable, string value)
        {
            string found = Environment.GetEnvironmentVariable(variable);
            return string.Equals(found, value, StringComparison.OrdinalIgnoreCase);
        }

        // AWS's setting for all runtimes has shorter names.
        private static int Level(string name)
        {
            if (string.Equals(name, "INFO", StringComparison.OrdinalIgnoreCase)) return Information;
            if (string.Equals(name, "WARN", StringComparison.OrdinalIgnoreCase)) return Information + 1;
            if (string.Equals(name, "FATAL", StringComparison.OrdinalIgnoreCase)) return ErrorLevel + 1;
            return Array.FindIndex(Names, one => string.Equals(one, name, StringComparison.OrdinalIgnoreCase));
        }

        internal static void Begin(Invocation invocation)
        {
            current = invocation;
        }

        // Logs an exception the way AWS reports a failed invocation or init.
        internal static void Error(Exception error)
        {
            Write(ErrorLevel, error.ToString());
        }

        // A call of the context's logger: Log, LogLine, LogInformation and their fellows, with a level
        // and an exception before the message, and values for its placeholders behind it.
        internal static void Call(string method, object[] arguments)
        {
            int next = 0;
            int level = method.Length > 3 ? Level(method.Substring(3)) : -1;
            if (method == "Log" && arguments.Length > 1)
            {
                level = Level(Convert.ToString(arguments[next++], CultureInfo.InvariantCulture));
            }
            var error = next < arguments.Length ? arguments[next] as Exception : null;
            if (error != null) next++;
            string message = next < arguments.Length ? arguments[next++] as string : "";
            var values = next < arguments.Length ? arguments[next] as object[] : null;
            message = values == null ? message : Filled(message, values);
            if (error != null) message = message + "\n" + error;
            Write(level, message);
        }

        // "{name}" and "{0}" stand for the values in their order.
        private static string Filled(string message, object[] values)
        {
            var text = new StringBuilder();
            int at = 0;
            foreach (object value in values)
            {
                int open = message.IndexOf('{', at);
                int close = open < 0 ? -1 : message.IndexOf('}', open);
                if (close < 0) break;
                text.Append(message, at, open - at);
                text.Append(Convert.ToString(value, CultureInfo.InvariantCulture));
                at = close + 1;
            }
            return text.Append(message, at, message.Length - at).ToString();
        }

        internal static void Write(int level, string message)
        {
            if (level >= 0 && level < lowest) return;
            string line = isJson ? Record(level, message) : Text(level, message);
            output.WriteLine(line.TrimEnd('\n').Replace('\n', '\r'));
            output.Flush();
        }

        private static string Text(int level, string message)
        {
            if (isUnformatted) return message ?? "";
            string label = level < 0 ? "" : Labels[level] + "\t";
            string id = current == null ? "" : current.RequestId;
            return Now() + "\t" + id + "\t" + label + message;
        }

        private static string Record(int level, string message)
        {
            var text = new StringBuilder();
            text.Append("{\"timestamp\":\"").Append(Now()).Append("\",\"level\":\"");
            text.Append(Names[level < 0 ? Information : level]).Append('"');
            if (current != null)
            {
                text.Append(",\"requestId\":");
                Json.Write(current.RequestId, text);
                if (current.TenantId.Length > 0)
                {
                    text.Append(",\"tenantId\":");
                    Json.Write(current.TenantId, text);
                }
            }
            text.Append(",\"message\":");
            Json.Write(message, text);
            return text.Append('}').ToString();
        }

        private static string Now()
        {
            const string format = "yyyy-MM-dd'T'HH:mm:ss.fff'Z'";
            return DateTime.UtcNow.ToString(format, CultureInfo.InvariantCulture);
        }

        // Records that nobody sees, for a process that waits for its function.
        internal static void Rehearse()
        {
            Record(Information, "text");
            Text(Information, "text");
            GC.KeepAlive(Console.OpenStandardOutput());
        }

        // Puts all that was printed into the pipe.
        internal static void Flush()
        {
            Console.Out.Flush();
            Console.Error.Flush();
            output.Flush();
        }

        // A console on which lines are records, and pieces of lines are what they are.
        private sealed class Lines : TextWriter
        {
            private readonly int level;

            internal Lines(int level) : base(CultureInfo.InvariantCulture)
            {
                this.level = level;
            }

            public override Encoding Encoding
            {
                get { return output.Encoding; }
            }

            public override void Flush()
            {
                output.Flush();
            }

            public override void Write(char value)
            {
                output.Write(value);
            }

            public override void Write(string value)
            {
                output.Write(value);
            }

            public override void Write(char[] buffer, int index, int count)
            {
                output.Write(buffer, index, count);
            }

            private void Line(object value)
            {
                Logs.Write(level, Convert.ToString(value, CultureInfo.InvariantCulture));
            }

            public override void WriteLine() { Line(""); }

            public override void WriteLine(bool value) { Line(value); }

            public override void WriteLine(char value) { Line(value); }

            public override void WriteLine(char[] value) { Line(new string(value ?? new char[0])); }

            public override void WriteLine(char[] value, int index, int count)
            {
                Line(new string(value, index, count));
            }

            public override void WriteLine(decimal value) { Line(value); }

            public override void WriteLine(double value) { Line(value); }

            public override void WriteLine(float value) { Line(value); }

            public override void WriteLine(int value) { Line(value); }

            public override void WriteLine(long value) { Line(value); }

            public override void WriteLine(uint value) { Line(value); }

            public override void WriteLine(ulong value) { Line(value); }

            public override void WriteLine(object value) { Line(value); }

            public override void WriteLine(string value) { Line(value); }

            public override void WriteLine(string format, object first)
            {
                Line(string.Format(FormatProvider, format, first));
            }

            public override void WriteLine(string format, object first, object second)
            {
                Line(string.Format(FormatProvider, format, first, second));
            }

            public override void WriteLine(string format, object first, object second, object third)
            {
                Line(string.Format(FormatProvider, format, first, second, third));
            }

            public override void WriteLine(string format, params object[] all)
            {
                Line(string.Format(FormatProvider, format, all));
            }
        }
    }
}
