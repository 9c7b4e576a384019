//! http_proxy
