//! What `cargo xtask fuzz` feeds with bytes: the parsers of what comes out of sandboxes and of packages.
//!
//! Each function panics when something is wrong. In an ordinary build none of this is there.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use bytes::BytesMut;

use crate::{
    frame::{Body, Frame, Garbage, Reader},
    runtime_api::http1::{Arrived, BodyReader, Malformed, take_head},
    zip_intake,
};

/// Frames of a runtime: the same whether the bytes arrive at once or one by one, and never kept beyond what is wanted.
pub fn frame(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let keep_max = usize::from(*first) * 16;
    let (whole, single) = (frames(keep_max, bytes, bytes.len()), frames(keep_max, bytes, 1));
    assert!(whole.iter().zip(&single).all(|(one, other)| one == other));
    for frame in whole.iter().chain(&single) {
        assert!(
            matches!(&frame.body, Body::TooLarge)
                || matches!(&frame.body, Body::Whole(body) if body.len() <= keep_max)
        );
    }
}

fn frames(keep_max: usize, bytes: &[u8], at_once: usize) -> Vec<Frame> {
    let mut reader = Reader::new(keep_max);
    let mut all = Vec::new();
    let mut read = || -> Result<(), Garbage> {
        for piece in bytes.chunks(at_once.max(1)) {
            let mut frame = reader.push(piece)?;
            while let Some(found) = frame {
                all.push(found);
                frame = reader.next()?;
            }
        }
        Ok(())
    };
    // That bytes are garbage is found sooner or later; it ends the environment.
    let _ = read();
    all
}

/// Requests to the Runtime API: the same whether the bytes arrive at once or one by one.
pub fn http1(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let keep_max = usize::from(*first) * 16;
    let whole = requests(keep_max, bytes, bytes.len());
    let single = requests(keep_max, bytes, 1);
    assert_eq!(whole, single);
    for (_, body) in &whole {
        assert!(
            matches!(body, Arrived::TooLarge)
                || matches!(body, Arrived::Whole(body) if body.len() <= keep_max)
        );
    }
}

fn requests(keep_max: usize, bytes: &[u8], at_once: usize) -> Vec<(String, Arrived)> {
    let (mut inbox, mut body) = (BytesMut::new(), None);
    let mut all = Vec::new();
    let mut read = || -> Result<(), Malformed> {
        for piece in bytes.chunks(at_once.max(1)) {
            inbox.extend_from_slice(piece);
            loop {
                if body.is_none() {
                    let Some(head) = take_head(&mut inbox)? else { break };
                    let said = format!("{} {} {:?}", head.method, head.uri, head.headers);
                    body = Some((said, BodyReader::new(&head.headers, keep_max)?));
                }
                let Some((head, reader)) = &mut body else { break };
                let Some(arrived) = reader.take(&mut inbox)? else { break };
                all.push((std::mem::take(head), arrived));
                body = None;
            }
        }
        Ok(())
    };
    let _ = read();
    all
}

/// Packages: what is accepted can be unpacked, to no more bytes than were counted (a directory may have some that are of no
/// use), and to nowhere else.
pub fn zip(data: &[u8]) {
    let Ok(counted) = zip_intake::inspect(data) else { return };
    let directory = std::env::temp_dir().join(format!("gatemill-fuzz-zip-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("the fuzzer has a directory for temporary files");
    let root = directory.join("root");
    let unpacked = zip_intake::unpack(Cursor::new(data), &root);
    assert!(matches!(unpacked, Ok(bytes) if bytes <= counted), "{unpacked:?} and not {counted}");
    let beside = fs::read_dir(&directory).expect("it was made above").count();
    assert_eq!(beside, 1, "something lies beside the root");
    assert!(size(&root) <= counted);
}

fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("unpacked directories can be read");
    let sizes = entries.flatten().map(|entry| {
        let status = entry.metadata().expect("an entry that was just listed has metadata");
        if status.is_dir() {
            size(&entry.path())
        } else if status.is_file() {
            status.len()
        } else {
            0
        }
    });
    sizes.sum()
}
