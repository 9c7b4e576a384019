//! Records: transactions, order, isolation of one write from the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Key, Record, Store, Table, Watch};

/// A record of the suite's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    text: String,
}

impl Record for Note {
    const VERSION: u8 = 1;
}

const NOTES: Table<Note> = Table::new("suite-notes");
const OTHERS: Table<Note> = Table::new("suite-others");

pub(super) async fn cases(make: &impl Fn() -> Store) {
    empty_tables_answer_nothing(&make());
    writes_are_read_back(&make()).await;
    scans_keep_order_and_bounds(&make()).await;
    a_write_sees_its_own_changes(&make()).await;
    a_refused_write_leaves_nothing(&make()).await;
    a_panic_is_the_callers_alone(&make()).await;
    a_snapshot_does_not_move(&make()).await;
    hooks_run_after_the_commit(&make()).await;
    a_watch_loses_nothing(&make()).await;
    clear_empties_everything(&make()).await;
    a_closed_store_says_so(&make()).await;
}

fn note(text: &str) -> Note {
    Note { text: text.to_owned() }
}

fn found(store: &Store, key: &Key) -> Option<Note> {
    store.read(|tx| NOTES.get(tx, key)).expect("a read succeeds")
}

/// Writes each text under the key of its own parts, divided by slashes.
async fn fill(store: &Store, keys: &'static [&'static str]) {
    let all = move |tx: &mut crate::Write| -> Result<(), Error> {
        for key in keys {
            NOTES.put(tx, &Key::new(key.split('/')), &note(key))?;
        }
        Ok(())
    };
    store.write(all).await.expect("a write succeeds");
}

fn empty_tables_answer_nothing(store: &Store) {
    let key = Key::new(["none"]);
    assert_eq!(found(store, &key), None);
    let all = Key::empty();
    let scanned = store.read(|tx| NOTES.scan(tx, &all, None, 10)).expect("a read succeeds");
    assert_eq!(scanned, []);
    assert_eq!(store.read(|tx| NOTES.count(tx, &all)).expect("a read succeeds"), 0);
}

async fn writes_are_read_back(store: &Store) {
    fill(store, &["a", "b"]).await;
    assert_eq!(found(store, &Key::new(["a"])), Some(note("a")));
    let replaced = |tx: &mut crate::Write| NOTES.put(tx, &Key::new(["a"]), &note("again"));
    store.write(replaced).await.expect("a write succeeds");
    assert_eq!(found(store, &Key::new(["a"])), Some(note("again")));
    let delete = |tx: &mut crate::Write| NOTES.delete(tx, &Key::new(["a"]));
    assert!(store.write(delete).await.expect("a write succeeds"), "it was there");
    assert!(!store.write(delete).await.expect("a write succeeds"), "it was there no more");
    assert_eq!(found(store, &Key::new(["a"])), None);
    assert_eq!(found(store, &Key::new(["b"])), Some(note("b")));
    let elsewhere = store.read(|tx| OTHERS.get(tx, &Key::new(["b"]))).expect("a read succeeds");
    assert_eq!(elsewhere, None, "tables do not share keys");
}

async fn scans_keep_order_and_bounds(store: &Store) {
    fill(store, &["b/2", "a", "b", "b/1", "ba/1", "b/3", "c"]).await;
    let scan = |prefix: &Key, after: Option<&Key>, limit| -> Vec<String> {
        let found = store.read(|tx| NOTES.scan(tx, prefix, after, limit)).expect("a read succeeds");
        found.into_iter().map(|(_, note)| note.text).collect()
    };
    let reverse = |prefix: &Key, before: Option<&Key>, limit| -> Vec<String> {
        let found = store.read(|tx| NOTES.scan_reverse(tx, prefix, before, limit));
        found.expect("a read succeeds").into_iter().map(|(_, note)| note.text).collect()
    };
    let (all, b) = (Key::empty(), Key::new(["b"]));
    assert_eq!(scan(&all, None, 9), ["a", "b", "b/1", "b/2", "b/3", "ba/1", "c"]);
    assert_eq!(scan(&b, None, 9), ["b", "b/1", "b/2", "b/3"], "no half parts");
    assert_eq!(scan(&b, Some(&Key::new(["b", "1"])), 9), ["b/2", "b/3"]);
    assert_eq!(scan(&b, Some(&b), 2), ["b/1", "b/2"]);
    assert_eq!(scan(&b, Some(&Key::new(["a"])), 1), ["b"], "after a key before the prefix");
    assert!(scan(&b, Some(&Key::new(["c"])), 9).is_empty(), "after a key behind the prefix");
    assert!(scan(&b, None, 0).is_empty());
    assert_eq!(reverse(&all, None, 2), ["c", "ba/1"]);
    assert_eq!(reverse(&b, None, 9), ["b/3", "b/2", "b/1", "b"]);
    assert_eq!(reverse(&b, Some(&Key::new(["b", "2"])), 9), ["b/1", "b"]);
    assert_eq!(reverse(&b, Some(&Key::new(["c"])), 1), ["b/3"], "before a key behind the prefix");
    assert!(reverse(&b, Some(&Key::new(["a"])), 9).is_empty());
    assert_eq!(store.read(|tx| NOTES.count(tx, &b)).expect("a read succeeds"), 4);
}

async fn a_write_sees_its_own_changes(store: &Store) {
    fill(store, &["a", "b", "d"]).await;
    let seen = store.write(|tx| -> Result<_, Error> {
        NOTES.put(tx, &Key::new(["c"]), &note("c"))?;
        NOTES.put(tx, &Key::new(["d"]), &note("new d"))?;
        NOTES.delete(tx, &Key::new(["a"]))?;
        NOTES.put(tx, &Key::new(["e"]), &note("e"))?;
        assert_eq!(NOTES.get(tx, &Key::new(["a"]))?, None);
        assert_eq!(NOTES.count(tx, &Key::empty())?, 4);
        let forward = NOTES.scan(tx, &Key::empty(), None, 9)?;
        let mut reverse = NOTES.scan_reverse(tx, &Key::empty(), None, 9)?;
        reverse.reverse();
        assert_eq!(forward, reverse);
        Ok(forward)
    });
    let seen = seen.await.expect("a write succeeds");
    let texts: Vec<_> = seen.iter().map(|(_, note)| note.text.as_str()).collect();
    assert_eq!(texts, ["b", "c", "new d", "e"]);
    let after = store.read(|tx| NOTES.scan(tx, &Key::empty(), None, 9)).expect("a read succeeds");
    assert_eq!(after, seen, "a read after the write sees what the write saw");
}

/// Why the suite's own closures refuse.
#[derive(Debug)]
enum Refusal {
    Wanted,
    Store(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Store(error)
    }
}

async fn a_refused_write_leaves_nothing(store: &Store) {
    fill(store, &["kept", "changed", "deleted"]).await;
    let mut waiting = Vec::new();
    for writer in 0..40_u64 {
        let store = store.clone();
        waiting.push(tokio::spawn(async move {
            let write = store.write(move |tx| {
                if writer % 2 == 0 {
                    NOTES.put(tx, &Key::new(["even"]).and_u64(writer), &note("even"))?;
                    return Ok(());
                }
                NOTES.put(tx, &Key::new(["odd"]).and_u64(writer), &note("odd"))?;
                NOTES.put(tx, &Key::new(["changed"]), &note("wrong"))?;
                NOTES.put(tx, &Key::new(["even"]).and_u64(writer - 1), &note("wrong"))?;
                NOTES.delete(tx, &Key::new(["deleted"]))?;
                tx.on_commit(|| panic!("the hook of a refused write"));
                Err(Refusal::Wanted)
            });
            (writer, write.await)
        }));
    }
    for write in waiting {
        match write.await.expect("no writer panics") {
            (writer, Ok(())) => assert_eq!(writer % 2, 0),
            (writer, Err(Refusal::Wanted)) => assert_eq!(writer % 2, 1),
            (writer, Err(Refusal::Store(error))) => panic!("writer {writer}: {error}"),
        }
    }
    assert_eq!(found(store, &Key::new(["changed"])), Some(note("changed")));
    assert_eq!(found(store, &Key::new(["deleted"])), Some(note("deleted")));
    let count = |part: &str| store.read(|tx| NOTES.count(tx, &Key::new([part])));
    assert_eq!(count("even").expect("a read succeeds"), 20);
    assert_eq!(count("odd").expect("a read succeeds"), 0);
    let even = store.read(|tx| NOTES.scan(tx, &Key::new(["even"]), None, 99));
    assert!(even.expect("a read succeeds").iter().all(|(_, kept)| *kept == note("even")));
}

async fn a_panic_is_the_callers_alone(store: &Store) {
    let panicking = store.clone();
    let write = tokio::spawn(async move {
        let write = panicking.write(|tx| -> Result<(), Error> {
            NOTES.put(tx, &Key::new(["half"]), &note("half"))?;
            panic!("a closure of the suite");
        });
        write.await
    });
    assert!(write.await.is_err_and(|ended| ended.is_panic()), "the caller gets the panic");
    assert_eq!(found(store, &Key::new(["half"])), None);
    fill(store, &["after"]).await;
    assert_eq!(found(store, &Key::new(["after"])), Some(note("after")));
}

async fn a_snapshot_does_not_move(store: &Store) {
    fill(store, &["a", "b"]).await;
    let (proceed, mut wait) = tokio::sync::mpsc::channel(1);
    let (began, mut begun) = tokio::sync::mpsc::channel(1);
    let reading = store.clone();
    let read = tokio::task::spawn_blocking(move || {
        reading.read(|tx| -> Result<_, Error> {
            let before = NOTES.scan(tx, &Key::empty(), None, 9)?;
            began.blocking_send(()).expect("the case waits");
            wait.blocking_recv().expect("the case tells when to go on");
            Ok((before, NOTES.scan(tx, &Key::empty(), None, 9)?))
        })
    });
    begun.recv().await.expect("the reader begins");
    fill(store, &["a2", "c"]).await;
    proceed.send(()).await.expect("the reader waits");
    let (before, after) = read.await.expect("no panic").expect("a read succeeds");
    assert_eq!(before.len(), 2);
    assert_eq!(before, after);
    let now = store.read(|tx| NOTES.count(tx, &Key::empty())).expect("a read succeeds");
    assert_eq!(now, 4);
}

async fn hooks_run_after_the_commit(store: &Store) {
    let seen = Arc::new(AtomicUsize::new(0));
    let (reading, counter) = (store.clone(), Arc::clone(&seen));
    let write = store.write(move |tx| -> Result<(), Error> {
        NOTES.put(tx, &Key::new(["hooked"]), &note("hooked"))?;
        let (reading, counter) = (reading.clone(), Arc::clone(&counter));
        tx.on_commit(move || {
            let there = found(&reading, &Key::new(["hooked"])).is_some();
            counter.fetch_add(if there { 1 } else { 100 }, Ordering::SeqCst);
        });
        Ok(())
    });
    write.await.expect("a write succeeds");
    assert_eq!(seen.load(Ordering::SeqCst), 1, "once, before the write returned, and it saw it");
}

/// Waits for a change that has come already, and so must be told at once.
async fn told(watch: &mut Watch) {
    let told = tokio::time::timeout(Duration::from_secs(10), watch.changed());
    told.await.expect("a change is told");
}

async fn a_watch_loses_nothing(store: &Store) {
    let mut watch = store.watch(NOTES.name());
    let mut other = store.watch(OTHERS.name());
    fill(store, &["a"]).await;
    told(&mut watch).await;
    let mut late = store.watch(NOTES.name());
    fill(store, &["b"]).await;
    // Both come back though nobody waited at the time of the commit.
    told(&mut watch).await;
    told(&mut late).await;
    let refused = |_: &mut crate::Write| Err::<(), _>(Refusal::Wanted);
    assert!(matches!(store.write(refused).await, Err(Refusal::Wanted)));
    let quiet = tokio::select! {
        biased;
        () = other.changed() => false,
        () = watch.changed() => false,
        () = std::future::ready(()) => true,
    };
    assert!(quiet, "no change is told twice, or of another table");
}

async fn clear_empties_everything(store: &Store) {
    fill(store, &["a", "b"]).await;
    let digest = store.blobs().put("content".into()).await.expect("a blob is kept");
    let mut watch = store.watch(NOTES.name());
    store.clear().await.expect("the store is cleared");
    told(&mut watch).await;
    assert_eq!(store.read(|tx| NOTES.count(tx, &Key::empty())).expect("a read succeeds"), 0);
    assert_eq!(store.blobs().get(&digest).await.expect("a blob is looked up"), None);
    fill(store, &["again"]).await;
    assert_eq!(found(store, &Key::new(["again"])), Some(note("again")));
}

async fn a_closed_store_says_so(store: &Store) {
    fill(store, &["a"]).await;
    store.flush().await.expect("the store is open");
    store.close().await.expect("the store closes");
    let write = store.write(|tx| NOTES.put(tx, &Key::new(["b"]), &note("b"))).await;
    assert!(matches!(write, Err(Error::Closed)), "{write:?}");
    let read = store.read(|tx| NOTES.get(tx, &Key::new(["a"])));
    assert!(matches!(read, Err(Error::Closed)), "{read:?}");
    let put = store.blobs().put("content".into()).await;
    assert!(matches!(put, Err(Error::Closed)), "{put:?}");
    assert!(matches!(store.close().await, Err(Error::Closed)));
}
