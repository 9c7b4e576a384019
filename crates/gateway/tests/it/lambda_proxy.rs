//! lambda_proxy
