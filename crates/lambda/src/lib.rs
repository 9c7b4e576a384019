//! Functions and their life: the control plane, the invoke path, execution environments.
