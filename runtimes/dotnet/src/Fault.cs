// What went wrong, in AWS's words: the error object for the caller.

using System;
using System.Collections.Generic;
using System.Text;

namespace Gatemill.Runtime
{
    // A failure that the runtime itself found; its name is AWS's and is what the caller sees.
    internal sealed class LambdaValidationException : Exception
    {
        internal LambdaValidationException(string message) : base(message)
        {
        }
    }

    internal static class Fault
    {
        // A chain of causes that is longer than this says nothing that the first ones do not.
        private const int CausesMax = 16;

        // Where a stack trace has left the customer's code.
        private static readonly string[] OwnFrames =
        {
            "at Gatemill.Runtime.", "at System.RuntimeMethodHandle.", "at InvokeStub_",
            "at System.Reflection.", "at System.Runtime.CompilerServices.TaskAwaiter",
            "at System.Runtime.ExceptionServices.", "--- End of stack trace",
        };

        // The error object in JSON.
        internal static byte[] Body(Exception error)
        {
            var text = new StringBuilder();
            Write(error, text, 0);
            return new UTF8Encoding(false).GetBytes(text.ToString());
        }

        private static void Write(Exception error, StringBuilder text, int depth)
        {
            text.Append("{\"errorType\":");
            Json.Write(error.GetType().Name, text);
            text.Append(",\"errorMessage\":");
            Json.Write(error.Message, text);
            List<string> trace = Trace(error);
            if (trace.Count > 0)
            {
                text.Append(",\"stackTrace\":[");
                for (int index = 0; index < trace.Count; index++)
                {
                    if (index > 0) text.Append(',');
                    Json.Write(trace[index], text);
                }
                text.Append(']');
            }
            if (depth < CausesMax) WriteCauses(error, text, depth);
            text.Append('}');
        }

        private static void WriteCauses(Exception error, StringBuilder text, int depth)
        {
            if (error.InnerException != null)
            {
                text.Append(",\"cause\":");
                Write(error.InnerException, text, depth + 1);
            }
            var several = error as AggregateException;
            if (several == null || several.InnerExceptions.Count < 2) return;
            string separator = ",\"causes\":[";
            foreach (Exception one in several.InnerExceptions)
            {
                text.Append(separator);
                // Wide and deep at once would be exponential.
                Write(one, text, CausesMax);
                separator = ",";
            }
            text.Append(']');
        }

        private static List<string> Trace(Exception error)
        {
            var lines = new List<string>();
            foreach (string line in (error.StackTrace ?? "").Split('\n'))
            {
                string frame = line.Trim();
                bool isOwn = Array.Exists(OwnFrames, own => frame.StartsWith(own, StringComparison.Ordinal));
                // An exception that crossed an await goes on below the mark with the method that awaited.
                if (frame.Length > 0 && !isOwn) lines.Add(frame);
            }
            return lines;
        }
    }
}
