//! Blobs: content under its own name, checked, listed in order, removed.

use std::fs;
use std::time::UNIX_EPOCH;

use bytes::Bytes;

use crate::limits::BLOB_BYTES_MAX;
use crate::{Digest, Error, Store};

pub(super) async fn cases(make: &impl Fn() -> Store) {
    content_is_kept_under_its_digest(&make()).await;
    putting_twice_is_putting_once(&make()).await;
    damage_is_found_and_mended(&make()).await;
    a_list_goes_on_where_it_ended(&make()).await;
    a_sweep_spares_what_was_put_again(&make()).await;
    a_blob_too_large_is_refused(&make()).await;
}

async fn put(store: &Store, content: &str) -> Digest {
    store.blobs().put(Bytes::from(content.to_owned())).await.expect("a blob is kept")
}

async fn get(store: &Store, digest: &Digest) -> Option<Bytes> {
    store.blobs().get(digest).await.expect("a blob is looked up")
}

async fn list(store: &Store) -> Vec<Digest> {
    store.blobs().list(None, 1000).await.expect("blobs are listed")
}

async fn content_is_kept_under_its_digest(store: &Store) {
    let digest = put(store, "abc").await;
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(digest.to_string(), hex);
    assert_eq!(digest.base64(), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    assert_eq!(get(store, &digest).await.as_deref(), Some(b"abc".as_slice()));
    assert!(store.blobs().path(&digest).ends_with(format!("ba/{hex}")));
    assert_eq!(fs::read(store.blobs().path(&digest)).expect("a file"), b"abc");
    assert_eq!(get(store, &Digest::of(b"other")).await, None);
    assert!(store.blobs().contains(&digest).await.expect("a blob is looked up"));
    assert!(store.blobs().delete(&digest).await.expect("a blob is removed"));
    assert!(!store.blobs().delete(&digest).await.expect("a blob is removed"));
    assert_eq!(get(store, &digest).await, None);
    let empty = put(store, "").await;
    assert_eq!(get(store, &empty).await.as_deref(), Some(b"".as_slice()));
}

async fn putting_twice_is_putting_once(store: &Store) {
    let mut waiting = Vec::new();
    for _ in 0..16 {
        let store = store.clone();
        waiting.push(tokio::spawn(async move { put(&store, "the same").await }));
    }
    for put in waiting {
        assert_eq!(put.await.expect("no panic"), Digest::of(b"the same"));
    }
    assert_eq!(list(store).await, [Digest::of(b"the same")]);
}

async fn damage_is_found_and_mended(store: &Store) {
    let digest = put(store, "whole").await;
    let path = store.blobs().path(&digest);
    fs::remove_file(&path).expect("the file is there");
    fs::write(&path, "whale").expect("the directory can be written");
    let damaged = store.blobs().get(&digest).await;
    assert!(matches!(damaged, Err(Error::Damaged { .. })), "{damaged:?}");
    put(store, "whole").await;
    assert_eq!(get(store, &digest).await.as_deref(), Some(b"whole".as_slice()));
}

async fn a_list_goes_on_where_it_ended(store: &Store) {
    let mut wanted = Vec::new();
    for number in 0..40 {
        wanted.push(put(store, &number.to_string()).await);
    }
    wanted.sort_unstable();
    assert_eq!(list(store).await, wanted);
    let mut paged: Vec<Digest> = Vec::new();
    for _ in 0..=wanted.len() {
        let page = store.blobs().list(paged.last(), 7).await.expect("blobs are listed");
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, wanted);
}

async fn a_sweep_spares_what_was_put_again(store: &Store) {
    let digest = put(store, "wanted").await;
    let path = store.blobs().path(&digest);
    let put_at = fs::metadata(&path).and_then(|found| found.modified()).expect("a file's time");
    let put_ms = put_at.duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let put_ms = u64::try_from(put_ms).expect("not so late");
    let sweep = async |before_ms| store.blobs().delete_unused(&digest, before_ms).await;
    assert!(!sweep(put_ms).await.expect("a sweep"), "put at that time or later");
    let old = UNIX_EPOCH + std::time::Duration::from_secs(1);
    fs::File::open(&path).and_then(|file| file.set_modified(old)).expect("a file's time is set");
    put(store, "wanted").await;
    assert!(!sweep(put_ms).await.expect("a sweep"), "putting again counts as new");
    assert!(sweep(put_ms + 3_600_000).await.expect("a sweep"), "put before");
    assert!(!sweep(put_ms + 3_600_000).await.expect("a sweep"), "it is gone");
    assert_eq!(get(store, &digest).await, None);
}

async fn a_blob_too_large_is_refused(store: &Store) {
    // Zeroed pages that are never touched, so this costs no memory.
    let large = Bytes::from(vec![0; BLOB_BYTES_MAX + 1]);
    let refused = store.blobs().put(large).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    assert!(list(store).await.is_empty());
}
