//! The suite, on every engine that there is.

use gatemill_store::{Store, suite};

#[tokio::test]
async fn memory() {
    suite::run(Store::memory).await;
}

#[tokio::test]
async fn embedded() {
    let dirs = std::cell::RefCell::new(Vec::new());
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        dirs.borrow_mut().push(dir);
        store
    };
    suite::run(make).await;
}
