//! Policy documents and their evaluation.
