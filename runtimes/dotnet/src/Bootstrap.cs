// The program that a .NET runtime starts: loads the handler, then answers one invocation after the other
// on descriptor 3 until the server closes it.
//
// Channel frames, Handler finds the function and calls it, Context is what it is given, Logs writes
// what it says, Fault says what went wrong. Written in the C# that every compiler since C# 7 takes and
// against what .NET Core 3.1 and its successors share, since it is compiled where it runs. It refers
// to nothing of a function's: the types of Amazon.Lambda.Core come with the function and are found by
// their names.

using System;
using System.Globalization;
using System.IO;

namespace Gatemill.Runtime
{
    internal static class Bootstrap
    {
        private const string TraceVariable = "_X_AMZN_TRACE_ID";
        private const int InitFailed = 1;

        // Its last argument may be --parked: then it waits for ASSIGN before anything else.
        private static int Main(string[] arguments)
        {
            var channel = new Channel();
            if (arguments.Length > 0 && arguments[arguments.Length - 1] == "--parked")
            {
                // What .NET reads of the environment once, it reads of the one that it was started in.
                GC.KeepAlive(CultureInfo.InvariantCulture);
                Rehearsal.Play();
                channel.Send(Channel.Parked, new byte[0]);
                byte[] assignment = channel.ReceiveAssignment();
                if (assignment == null) return 0;
                Assignment.Take(assignment);
            }
            string name = Environment.GetEnvironmentVariable("_HANDLER") ?? "";
            if (Executable.IsNamedBy(name)) return Executable.Run(name);
            Logs.SetUp();
            Handler handler;
            try
            {
                handler = Handler.Load(name);
            }
            catch (Exception error)
            {
                Logs.Error(error);
                Logs.Flush();
                channel.Send(Channel.InitError, Fault.Body(error));
                return InitFailed;
            }
            Logs.Flush();
            channel.Send(Channel.Ready, new byte[0]);
            Serve(channel, handler);
            // Threads of the customer's that never end would keep an orderly exit waiting for ever.
            Environment.Exit(0);
            return 0;
        }

        private static void Serve(Channel channel, Handler handler)
        {
            while (true)
            {
                Invocation invocation = channel.Receive();
                if (invocation == null) return;
                string trace = invocation.TraceId;
                Environment.SetEnvironmentVariable(TraceVariable, trace.Length == 0 ? null : trace);
                Logs.Begin(invocation);
                byte kind = Channel.Response;
                var answer = new MemoryStream();
                try
                {
                    handler.Answer(invocation, answer);
                }
                catch (Exception error)
                {
                    Logs.Error(error);
                    kind = Channel.Error;
                    byte[] body = Fault.Body(error);
                    answer = new MemoryStream(body, 0, body.Length, false, true);
                }
                Logs.Flush();
                channel.Send(kind, answer.GetBuffer(), (int)answer.Length);
            }
        }
    }
}
