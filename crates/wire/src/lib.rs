//! AWS over HTTP: signatures, protocols, errors, names, and the path that serves an API call.
