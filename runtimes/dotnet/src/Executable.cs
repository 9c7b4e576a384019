// A handler that is the name of an assembly alone: the assembly has a Main of its own, which asks for
// invocations by the Runtime API (package Amazon.Lambda.RuntimeSupport) and is all there is to run.

using System;
using System.Reflection;
using System.Runtime.ExceptionServices;

namespace Gatemill.Runtime
{
    internal static class Executable
    {
        internal static bool IsNamedBy(string handler)
        {
            return handler.Length > 0 && handler.IndexOf("::", StringComparison.Ordinal) < 0;
        }

        // Runs Main in this process; returns its status.
        internal static int Run(string handler)
        {
            MethodInfo main = Assemblies.Load(Handler.TaskRoot, handler).EntryPoint;
            if (main == null)
            {
                throw new LambdaValidationException("The assembly '" + handler + "' has no entry point.");
            }
            bool takesArguments = main.GetParameters().Length > 0;
            try
            {
                object status = main.Invoke(null, takesArguments ? new object[] { new string[0] } : null);
                return status is int ? (int)status : 0;
            }
            catch (TargetInvocationException error)
            {
                ExceptionDispatchInfo.Capture(error.InnerException).Throw();
                throw;
            }
        }
    }
}
