//! Queues: order, delay, leases, epochs, retries, dead letters, and the counts.

use serde::{Deserialize, Serialize};

use crate::{Error, JobId, Leased, Queue, QueueCounts, Record, Settled, Store, Write};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Work(u32);

impl Record for Work {
    const VERSION: u8 = 1;
}

const QUEUE: Queue<Work> = Queue::new("suite-queue");

pub(super) async fn cases(make: &impl Fn() -> Store) {
    jobs_come_in_the_order_of_their_due_times(&make()).await;
    a_lease_excludes_others_until_it_ends(&make()).await;
    a_late_worker_settles_nothing(&make()).await;
    a_retry_waits_and_counts(&make()).await;
    a_dead_letter_is_kept_and_redriven(&make()).await;
    a_refused_transaction_moves_no_job(&make()).await;
    every_job_is_settled_once(&make()).await;
}

async fn write<T: Send + 'static>(
    store: &Store,
    f: impl Fn(&mut Write) -> Result<T, Error> + Send + 'static,
) -> T {
    store.write(f).await.expect("a write succeeds")
}

async fn enqueue(store: &Store, work: u32, not_before_ms: u64) -> JobId {
    write(store, move |tx| QUEUE.enqueue(tx, &Work(work), 100, not_before_ms)).await
}

/// Leases for 50 ms.
async fn lease(store: &Store, now_ms: u64, max: usize) -> Vec<Leased<Work>> {
    write(store, move |tx| QUEUE.lease(tx, now_ms, 50, max)).await
}

async fn one(store: &Store, now_ms: u64) -> Leased<Work> {
    let mut leased = lease(store, now_ms, 9).await;
    assert_eq!(leased.len(), 1, "one job is due at {now_ms}");
    leased.remove(0)
}

async fn ack(store: &Store, id: JobId, epoch: u64) -> Settled {
    write(store, move |tx| QUEUE.ack(tx, id, epoch)).await
}

fn next_due(store: &Store) -> Option<u64> {
    store.read(|tx| QUEUE.next_due(tx)).expect("a read succeeds")
}

fn counts(store: &Store) -> QueueCounts {
    let counts = store.read(|tx| QUEUE.counts(tx)).expect("a read succeeds");
    let came = counts.enqueued + counts.redriven;
    assert_eq!(came, counts.acknowledged + counts.buried + counts.pending, "{counts:?}");
    counts
}

async fn jobs_come_in_the_order_of_their_due_times(store: &Store) {
    assert_eq!(next_due(store), None);
    for (work, not_before_ms) in [(1, 300), (2, 100), (3, 200), (4, 100)] {
        enqueue(store, work, not_before_ms).await;
    }
    assert_eq!(next_due(store), Some(100));
    assert!(lease(store, 99, 9).await.is_empty(), "nothing is due yet");
    let first: Vec<_> = lease(store, 250, 2).await.into_iter().map(|job| job.job.0).collect();
    assert_eq!(first, [2, 4], "the longest due, then the first enqueued");
    let then = lease(store, 250, 9).await;
    assert_eq!(then.len(), 1);
    assert_eq!((then[0].job.0, then[0].attempt, then[0].enqueued_ms), (3, 1, 100));
    assert_eq!(counts(store).pending, 4);
}

async fn a_lease_excludes_others_until_it_ends(store: &Store) {
    enqueue(store, 1, 100).await;
    let first = one(store, 100).await;
    assert_eq!(next_due(store), Some(150), "the end of the lease");
    assert!(lease(store, 149, 9).await.is_empty());
    let (id, epoch) = (first.id, first.epoch);
    let extended = write(store, move |tx| QUEUE.extend(tx, id, epoch, 400)).await;
    assert_eq!(extended, Settled::Yes);
    assert!(lease(store, 399, 9).await.is_empty());
    let second = one(store, 400).await;
    assert_eq!((second.id, second.attempt), (first.id, 2));
    assert_ne!(second.epoch, first.epoch);
    let late = write(store, move |tx| QUEUE.extend(tx, id, epoch, 900)).await;
    assert_eq!(late, Settled::Stale, "a lost lease cannot be prolonged");
}

async fn a_late_worker_settles_nothing(store: &Store) {
    enqueue(store, 1, 100).await;
    let late = one(store, 100).await;
    let holder = one(store, 200).await;
    let (id, epoch) = (late.id, late.epoch);
    assert_eq!(ack(store, id, epoch).await, Settled::Stale);
    assert_eq!(write(store, move |tx| QUEUE.retry(tx, id, epoch, 0)).await, Settled::Stale);
    assert_eq!(write(store, move |tx| QUEUE.bury(tx, id, epoch, "late")).await, Settled::Stale);
    assert_eq!(counts(store).pending, 1);
    assert_eq!(ack(store, holder.id, holder.epoch).await, Settled::Yes);
    assert_eq!(ack(store, holder.id, holder.epoch).await, Settled::Stale, "once");
    assert_eq!(ack(store, id, epoch).await, Settled::Stale);
    assert_eq!(ack(store, JobId(77), 1).await, Settled::Stale, "of a job that never was");
    let counts = counts(store);
    assert_eq!((counts.acknowledged, counts.pending, counts.dead), (1, 0, 0));
    assert_eq!(next_due(store), None);
}

async fn a_retry_waits_and_counts(store: &Store) {
    enqueue(store, 1, 100).await;
    let first = one(store, 100).await;
    let (id, epoch) = (first.id, first.epoch);
    assert_eq!(write(store, move |tx| QUEUE.retry(tx, id, epoch, 500)).await, Settled::Yes);
    assert_eq!(ack(store, id, epoch).await, Settled::Stale, "the retry ended that lease");
    assert!(lease(store, 499, 9).await.is_empty());
    let second = one(store, 500).await;
    assert_eq!((second.attempt, second.job), (2, Work(1)));
    // A lease that ran out settles still, as long as nobody else got the job.
    assert_eq!(ack(store, second.id, second.epoch).await, Settled::Yes);
}

async fn a_dead_letter_is_kept_and_redriven(store: &Store) {
    for work in 1..=3 {
        enqueue(store, work, 100).await;
    }
    for job in lease(store, 100, 9).await {
        let reason = "é".repeat(600) + "!";
        let buried = move |tx: &mut Write| QUEUE.bury(tx, job.id, job.epoch, &reason);
        assert_eq!(write(store, buried).await, Settled::Yes);
    }
    assert_eq!((counts(store).dead, next_due(store)), (3, None));
    let dead = store.read(|tx| QUEUE.dead(tx, None, 2)).expect("a read succeeds");
    assert_eq!(dead.iter().map(|dead| dead.job.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((dead[0].attempts, dead[0].enqueued_ms), (1, 100));
    assert_eq!(dead[0].reason, "é".repeat(512), "cut between characters");
    let rest = store.read(|tx| QUEUE.dead(tx, Some(dead[1].id), 9)).expect("a read succeeds");
    assert_eq!(rest.iter().map(|dead| dead.job.0).collect::<Vec<_>>(), [3]);
    let id = dead[0].id;
    assert!(write(store, move |tx| QUEUE.redrive(tx, id, 700)).await);
    assert!(!write(store, move |tx| QUEUE.redrive(tx, id, 700)).await, "it is dead no more");
    let again = one(store, 700).await;
    assert_eq!((again.id, again.attempt, again.job), (id, 1, Work(1)));
    assert_eq!(ack(store, id, 1).await, Settled::Stale, "the lease before its death");
    assert_eq!(ack(store, id, again.epoch).await, Settled::Yes);
    let last = rest[0].id;
    assert!(write(store, move |tx| QUEUE.discard(tx, last)).await);
    assert!(!write(store, move |tx| QUEUE.discard(tx, last)).await);
    let counts = counts(store);
    assert_eq!((counts.buried, counts.redriven, counts.dead), (3, 1, 1));
}

async fn a_refused_transaction_moves_no_job(store: &Store) {
    enqueue(store, 1, 100).await;
    let before = counts(store);
    let refused = store.write(|tx| -> Result<(), Error> {
        QUEUE.enqueue(tx, &Work(2), 100, 100)?;
        let leased = QUEUE.lease(tx, 100, 50, 9)?;
        assert_eq!(leased.len(), 2, "jobs of one's own transaction can be leased in it");
        assert_eq!(QUEUE.ack(tx, leased[0].id, leased[0].epoch)?, Settled::Yes);
        Err(Error::Damaged { what: "nothing; the suite refuses its own write" })
    });
    assert!(refused.await.is_err());
    assert_eq!(counts(store), before);
    let leased = one(store, 100).await;
    assert_eq!((leased.job.0, leased.attempt), (1, 1));
}

/// Eight workers against leases so short that they steal from each other all the time.
async fn every_job_is_settled_once(store: &Store) {
    const JOBS: u32 = 60;
    let jobs = move |tx: &mut Write| -> Result<(), Error> {
        (0..JOBS).try_for_each(|work| QUEUE.enqueue(tx, &Work(work), 0, 0).map(drop))
    };
    write(store, jobs).await;
    let mut workers = Vec::new();
    for worker in 0..8_u64 {
        let store = store.clone();
        workers.push(tokio::spawn(async move {
            let mut done = Vec::new();
            // Each round is a time of its own, at which all leases of before have ended.
            for now_ms in (worker..4000).step_by(8) {
                let leased = write(&store, move |tx| QUEUE.lease(tx, now_ms, 1, 7)).await;
                if leased.is_empty() && next_due(&store).is_none() {
                    break;
                }
                for job in leased {
                    if ack(&store, job.id, job.epoch).await == Settled::Yes {
                        done.push(job.job.0);
                    }
                }
            }
            done
        }));
    }
    let mut done = Vec::new();
    for worker in workers {
        done.extend(worker.await.expect("no worker panics"));
    }
    done.sort_unstable();
    assert_eq!(done, (0..JOBS).collect::<Vec<_>>(), "each once, none left");
    let counts = counts(store);
    assert_eq!((counts.acknowledged, counts.pending), (u64::from(JOBS), 0));
}
