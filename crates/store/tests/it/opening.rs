//! Opening, closing, opening again; and what is not ours to open.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gatemill_store::limits::{KEY_BYTES_MAX, RECORD_BYTES_MAX, WRITE_BYTES_MAX};
use gatemill_store::{Error, Key, Record, Store, Table};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Text(String);

impl Record for Text {
    const VERSION: u8 = 1;
}

const TEXTS: Table<Text> = Table::new("texts");

async fn put(store: &Store, name: &str) {
    let name = name.to_owned();
    let put = store.write(move |tx| TEXTS.put(tx, &Key::new([&name]), &Text(name.clone())));
    put.await.unwrap();
}

fn has(store: &Store, name: &str) -> bool {
    store.read(|tx| TEXTS.contains(tx, &Key::new([name]))).unwrap()
}

#[tokio::test]
async fn what_was_written_is_there_after_a_close_and_after_a_drop() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("new/data");
    let store = Store::open(&at).unwrap();
    put(&store, "before the close").await;
    let digest = store.blobs().put("content".into()).await.unwrap();
    store.close().await.unwrap();
    // The closed store still lives; its files do not belong to it any more.
    let again = Store::open(&at).unwrap();
    assert!(has(&again, "before the close"));
    put(&again, "before the drop").await;
    drop(again);
    drop(store);
    let again = Store::open(&at).unwrap();
    assert!(has(&again, "before the drop"));
    assert_eq!(again.blobs().get(&digest).await.unwrap().unwrap(), "content");
    assert_eq!(fs::metadata(&at).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_write_that_waits_when_the_last_store_goes_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let writing = store.clone();
    let write = tokio::spawn(async move { put(&writing, "waiting").await });
    // It has begun to wait once the runtime has come to it; then its caller leaves.
    tokio::task::yield_now().await;
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    drop(store);
    assert!(has(&Store::open(dir.path()).unwrap(), "waiting"));
}

#[tokio::test]
async fn a_hook_may_hold_the_last_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (began, mut begun) = tokio::sync::mpsc::channel::<()>(1);
    let (release, held_up) = std::sync::mpsc::sync_channel::<()>(1);
    let held_up = Arc::new(Mutex::new(held_up));
    let writing = store.clone();
    let write = tokio::spawn(async move {
        let held = writing.clone();
        let write = writing.write(move |tx| -> Result<(), Error> {
            let (held, began, held_up) = (held.clone(), began.clone(), Arc::clone(&held_up));
            tx.on_commit(move || {
                began.blocking_send(()).unwrap();
                held_up.lock().unwrap().recv().unwrap();
                drop(held);
            });
            TEXTS.put(tx, &Key::new(["hooked"]), &Text(String::new()))
        });
        write.await
    });
    begun.recv().await.unwrap();
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    drop(store);
    release.send(()).unwrap();
    assert!(begun.recv().await.is_none(), "the writer let go of the closure, and of the store");
    let again = open_when_free(dir.path());
    assert!(has(&again, "hooked"));
}

/// Opens the store as soon as the thread that held it has ended.
fn open_when_free(dir: &Path) -> Store {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match Store::open(dir) {
            Ok(store) => return store,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _store = Store::open(dir.path()).unwrap();
    let second = Store::open(dir.path());
    assert!(matches!(&second, Err(Error::InUse { dir: at }) if at == dir.path()), "{second:?}");
}

#[tokio::test]
async fn what_a_killed_creation_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("records.new"), "half a file").unwrap();
    fs::create_dir_all(dir.path().join("blobs/unfinished")).unwrap();
    fs::write(dir.path().join("blobs/unfinished/0"), "half a blob").unwrap();
    let store = Store::open(dir.path()).unwrap();
    put(&store, "works").await;
    assert_eq!(fs::read_dir(dir.path().join("blobs/unfinished")).unwrap().count(), 0);
    assert!(!dir.path().join("records.new").exists());
    store.blobs().put("whole".into()).await.unwrap();
}

/// Opens on a thread of its own, so that a panic would be told apart from an error.
fn opens_with(records: &[u8]) -> Result<Store, Error> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("records.redb"), records).unwrap();
    let at = dir.path().to_path_buf();
    std::thread::spawn(move || Store::open(&at)).join().expect("no panic on what is in a file")
}

#[test]
fn a_file_that_is_not_ours_is_refused() {
    for records in [b"".as_slice(), b"SQLite format 3\0", &[0; 8192]] {
        let opened = opens_with(records);
        assert!(matches!(opened, Err(Error::Engine { .. })), "{opened:?}");
    }
}

fn foreign(path: &Path, value: &[u8]) {
    let table = redb::TableDefinition::<&[u8], &[u8]>::new("\0format");
    let database = redb::Database::create(path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(table).unwrap().insert(b"format".as_slice(), value).unwrap();
    write.commit().unwrap();
}

#[test]
fn a_later_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    foreign(&dir.path().join("records.redb"), &[2]);
    let opened = Store::open(dir.path());
    assert!(matches!(&opened, Err(Error::Format { known: 1, .. })), "{opened:?}");
    let said = opened.unwrap_err().to_string();
    assert_eq!(said, "the data has format [2], this version reads 1");
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_nothing_else() {
    let store = Store::memory();
    let refused = |answer: Result<(), Error>, what: &str| {
        let told = matches!(&answer, Err(Error::TooLarge { what: which, .. }) if *which == what);
        assert!(told, "{what}: {answer:?}");
    };
    let key = Key::new(["k".repeat(KEY_BYTES_MAX)]);
    let large = move |tx: &mut _| TEXTS.put(tx, &key, &Text(String::new()));
    refused(store.write(large).await, "a key");
    let large =
        |tx: &mut _| TEXTS.put(tx, &Key::new(["large"]), &Text("x".repeat(RECORD_BYTES_MAX)));
    refused(store.write(large).await, "a record");
    let large = |tx: &mut _| {
        let part = Text("x".repeat(RECORD_BYTES_MAX - 100));
        let parts = WRITE_BYTES_MAX / RECORD_BYTES_MAX + 1;
        (0..parts).try_for_each(|n| TEXTS.put(tx, &Key::empty().and_u64(n as u64), &part))
    };
    refused(store.write(large).await, "a write");
    assert_eq!(store.read(|tx| TEXTS.count(tx, &Key::empty())).unwrap(), 0);
    put(&store, "fits").await;
    assert!(has(&store, "fits"));
}

/// What tests on the memory store rely on: a closure with side effects is found.
#[tokio::test]
async fn the_memory_store_rehearses_every_write() {
    let store = Store::memory();
    let runs = Arc::new(Mutex::new(0));
    let (counting, hooks) = (Arc::clone(&runs), Arc::new(Mutex::new(0)));
    let hooked = Arc::clone(&hooks);
    let write = store.write(move |tx| -> Result<usize, Error> {
        *counting.lock().unwrap() += 1;
        let hooked = Arc::clone(&hooked);
        tx.on_commit(move || *hooked.lock().unwrap() += 1);
        TEXTS.put(tx, &Key::empty().and_u64(7), &Text(String::new()))?;
        TEXTS.count(tx, &Key::empty())
    });
    assert_eq!(write.await.unwrap(), 1);
    assert_eq!((*runs.lock().unwrap(), *hooks.lock().unwrap()), (2, 1));
}
