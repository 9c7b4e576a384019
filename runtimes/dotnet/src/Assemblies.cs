// Where a function's assemblies are: what its `.deps.json` says, then the root of its package.

using System;
using System.IO;
using System.Reflection;
using System.Runtime.Loader;

namespace Gatemill.Runtime
{
    internal static class Assemblies
    {
        // Loads the handler's assembly; what it refers to is then found beside it.
        internal static Assembly Load(string root, string name)
        {
            string path = Path.Combine(root, name + ".dll");
            if (!File.Exists(path))
            {
                throw new LambdaValidationException(
                    "Could not find the specified handler assembly with the file name '" + name
                    + ", Culture=neutral, PublicKeyToken=null'. The assembly should be located in the root of your "
                    + "uploaded .zip file.");
            }
            AssemblyDependencyResolver resolver = Resolver(path);
            AssemblyLoadContext.Default.Resolving += (context, wanted) =>
            {
                string found = resolver == null ? null : resolver.ResolveAssemblyToPath(wanted);
                string beside = Path.Combine(root, wanted.Name + ".dll");
                if (found == null && File.Exists(beside)) found = beside;
                return found == null ? null : context.LoadFromAssemblyPath(found);
            };
            AssemblyLoadContext.Default.ResolvingUnmanagedDll += (assembly, wanted) =>
            {
                string found = resolver == null ? null : resolver.ResolveUnmanagedDllToPath(wanted);
                return found == null ? IntPtr.Zero : System.Runtime.InteropServices.NativeLibrary.Load(found);
            };
            try
            {
                return AssemblyLoadContext.Default.LoadFromAssemblyPath(path);
            }
            catch (BadImageFormatException)
            {
                throw new LambdaValidationException("Unable to load assembly '" + name + "'.");
            }
        }

        // Loads what looks for assemblies, for a process that waits for its function.
        internal static void Rehearse(string path)
        {
            AssemblyDependencyResolver resolver = Resolver(path);
            if (resolver != null) resolver.ResolveAssemblyToPath(new AssemblyName("Absent"));
        }

        private static AssemblyDependencyResolver Resolver(string path)
        {
            try
            {
                return new AssemblyDependencyResolver(path);
            }
            catch (InvalidOperationException)
            {
                // Its .deps.json cannot be read; the root of the package has to do.
                return null;
            }
        }
    }
}
