//! From a privileged process to a confined one: namespaces, mounts, limits, filters, exec.
