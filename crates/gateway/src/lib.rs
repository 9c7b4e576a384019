//! HTTP APIs in front of functions and servers: the control plane and the proxy path.
