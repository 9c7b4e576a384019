//! The AWS operations as data: shapes and one constant per operation, generated from the public service models.
