//! Durable records, queues and blobs behind one facade, with an embedded and an in-memory engine.
