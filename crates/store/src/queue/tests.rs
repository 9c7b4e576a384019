//! Golden bytes of what a queue keeps: what an older Gatemill wrote is read for ever.

use serde::{Deserialize, Serialize};

use super::{Dead, JobId, Queue, Settled};
use crate::engine::{Direction, Span};
use crate::transaction::sealed::Sealed;
use crate::{Error, Record, Store};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Event {
    payload: String,
}

impl Record for Event {
    const VERSION: u8 = 7;
}

const EVENTS: Queue<Event> = Queue::new("events");

/// One job waiting, one leased, one dead; every kind of key and record of version 1.
const GOLDEN: &[(&str, &str)] = &[
    (
        "dead\0\u{1}#2",
        "\u{1}{\"reason\":\"no\",\"attempts\":1,\"epoch\":1,\"job\":{\"enqueued_ms\":1000,\"version\":7,\"job\":{\"payload\":\"c\"}}}",
    ),
    ("due\0\u{1}#5000#0", "\u{1}{}"),
    ("due\0\u{1}#2100#1", "\u{1}{}"),
    ("job\0\u{1}#0", "\u{1}{\"enqueued_ms\":1000,\"version\":7,\"job\":{\"payload\":\"a\"}}"),
    ("job\0\u{1}#1", "\u{1}{\"enqueued_ms\":1000,\"version\":7,\"job\":{\"payload\":\"b\"}}"),
    ("state\0\u{1}#1", "\u{1}{\"epoch\":1,\"attempt\":1,\"due_ms\":2100}"),
    (
        "tally\0\u{1}",
        "\u{1}{\"next\":3,\"enqueued\":3,\"acknowledged\":0,\"buried\":1,\"redriven\":0}",
    ),
];

/// The bytes of a golden key: `#` and a number stand for the nine bytes of a number.
fn key(golden: &str) -> Vec<u8> {
    let mut parts = golden.split('#');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for number in parts {
        bytes.push(0xFF);
        bytes.extend(number.parse::<u64>().unwrap().to_be_bytes());
    }
    bytes
}

fn golden() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries: Vec<_> =
        GOLDEN.iter().map(|(name, value)| (key(name), value.as_bytes().to_vec())).collect();
    entries.sort();
    entries
}

fn event(payload: &str) -> Event {
    Event { payload: payload.to_owned() }
}

#[tokio::test]
async fn writes_the_golden_bytes() {
    let store = Store::memory();
    let fill = store.write(|tx| -> Result<(), Error> {
        EVENTS.enqueue(tx, &event("a"), 1000, 5000)?;
        EVENTS.enqueue(tx, &event("b"), 1000, 1500)?;
        EVENTS.enqueue(tx, &event("c"), 1000, 1000)?;
        let leased = EVENTS.lease(tx, 2000, 100, 9)?;
        assert_eq!(EVENTS.bury(tx, leased[0].id, leased[0].epoch, "no")?, Settled::Yes);
        Ok(())
    });
    fill.await.unwrap();
    let span = Span::below(&[], None, Direction::Forward).unwrap();
    let read = store.read(|tx| {
        tx.entries(EVENTS.name(), &span, Direction::Forward)?.collect::<Result<Vec<_>, Error>>()
    });
    assert_eq!(read.unwrap(), golden());
}

#[tokio::test]
async fn reads_the_golden_bytes() {
    let store = Store::memory();
    let fill = store.write(|tx| -> Result<(), Error> {
        golden().into_iter().try_for_each(|(key, value)| tx.set(EVENTS.name(), &key, Some(value)))
    });
    fill.await.unwrap();
    let dead = store.read(|tx| EVENTS.dead(tx, None, 9)).unwrap();
    let wanted = Dead {
        id: JobId(2),
        reason: "no".to_owned(),
        attempts: 1,
        enqueued_ms: 1000,
        job: event("c"),
    };
    assert_eq!(dead, [wanted]);
    let settled = store.write(|tx| -> Result<_, Error> {
        let first = EVENTS.ack(tx, JobId(1), 1)?;
        let second = EVENTS.lease(tx, 5000, 100, 9)?;
        let next = EVENTS.enqueue(tx, &event("d"), 1, 1)?;
        Ok((first, second, next))
    });
    let (acknowledged, leased, next) = settled.await.unwrap();
    assert_eq!(acknowledged, Settled::Yes);
    assert_eq!(leased.len(), 1);
    assert_eq!((leased[0].id, &leased[0].job), (JobId(0), &event("a")));
    assert_eq!(next, JobId(3));
}

#[tokio::test]
async fn a_job_of_an_unknown_version_holds_up_nothing() {
    let store = Store::memory();
    let fill = store.write(|tx| -> Result<_, Error> {
        EVENTS.enqueue(tx, &event("new"), 1, 1)?;
        EVENTS.enqueue(tx, &event("ours"), 1, 2)?;
        let newer = br#"_{"enqueued_ms":1,"version":8,"job":{"shape":"unknown"}}"#;
        let mut newer = newer.to_vec();
        newer[0] = 1;
        tx.set(EVENTS.name(), super::job_key(JobId(0)).as_bytes(), Some(newer))?;
        EVENTS.lease(tx, 10, 100, 9)
    });
    let leased = fill.await.unwrap();
    assert_eq!(leased.len(), 1);
    assert_eq!(leased[0].job, event("ours"));
    let counts = store.read(|tx| EVENTS.counts(tx)).unwrap();
    assert_eq!(counts.pending, 2, "nothing is thrown away");
}
