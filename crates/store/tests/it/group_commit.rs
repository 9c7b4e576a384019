//! Waiting writes share a commit.

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use gatemill_store::{Error, Key, Record, Store, Table};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    payload: String,
}

impl Record for Entry {
    const VERSION: u8 = 1;
}

const ENTRIES: Table<Entry> = Table::new("entries");
const WRITERS: u64 = 64;

/// The first write holds the writer until the others wait; they must then go in one commit.
#[tokio::test]
async fn writes_that_wait_together_are_committed_together() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (release, held) = mpsc::sync_channel::<()>(1);
    let (began, begun) = tokio::sync::oneshot::channel();
    let (held, began) = (Mutex::new(held), Mutex::new(Some(began)));
    let first = store.clone();
    let first = tokio::spawn(async move {
        let write = first.write(move |tx| -> Result<(), Error> {
            if let Some(began) = began.lock().unwrap().take() {
                began.send(()).unwrap();
                held.lock().unwrap().recv().unwrap();
            }
            ENTRIES.put(tx, &Key::new(["first"]), &Entry { payload: String::new() })
        });
        write.await.unwrap();
    });
    begun.await.unwrap();
    let mut waiting = Vec::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        waiting.push(tokio::spawn(async move {
            let entry = Entry { payload: writer.to_string() };
            let key = Key::new(["waiting"]).and_u64(writer);
            store.write(move |tx| ENTRIES.put(tx, &key, &entry)).await.unwrap();
        }));
    }
    // One thread runs all tasks: when this one goes on, each of them has begun to wait.
    tokio::task::yield_now().await;
    release.send(()).unwrap();
    first.await.unwrap();
    for write in waiting {
        write.await.unwrap();
    }
    let written = store.written();
    assert_eq!(written.writes, WRITERS + 1);
    assert!(written.commits <= 2, "{written:?}");
    let count = store.read(|tx| ENTRIES.count(tx, &Key::new(["waiting"]))).unwrap();
    assert_eq!(u64::try_from(count).unwrap(), WRITERS);
}

/// Prints how fast 64 writers are; what it asserts is that nothing they wrote is missing.
#[tokio::test]
async fn many_writers_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let begun = Instant::now();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.push(tokio::spawn(async move {
            let entry = Entry { payload: "x".repeat(1000) };
            let mut number = 0;
            while begun.elapsed() < Duration::from_secs(1) {
                let (key, entry) = (Key::empty().and_u64(writer).and_u64(number), entry.clone());
                store.write(move |tx| ENTRIES.put(tx, &key, &entry)).await.unwrap();
                number += 1;
            }
            number
        }));
    }
    let mut total = 0;
    for writer in writers {
        total += writer.await.unwrap();
    }
    let written = store.written();
    println!(
        "{total} records of 1 kB from {WRITERS} writers in {:.2?}: {} commits",
        begun.elapsed(),
        written.commits
    );
    assert_eq!(written.writes, total);
    assert!(written.commits < written.writes, "{written:?}");
    let count = store.read(|tx| ENTRIES.count(tx, &Key::empty())).unwrap();
    assert_eq!(u64::try_from(count).unwrap(), total);
}
