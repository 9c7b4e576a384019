//! The queue against a model of it, in which a job is what the guarantee says and no keys exist.

use std::collections::BTreeMap;

use gatemill_store::{Error, JobId, Queue, Record, Settled, Store, Write};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Job(u64);

impl Record for Job {
    const VERSION: u8 = 1;
}

const QUEUE: Queue<Job> = Queue::new("model-queue");

#[derive(Clone, Debug)]
enum Op {
    Enqueue { delay_ms: u64 },
    Pass { ms: u64 },
    Lease { duration_ms: u64, max: usize },
    Settle { how: How, lease: usize },
    Redrive { which: usize },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Ack,
    Retry,
    Extend,
    Bury,
}

fn op() -> impl Strategy<Value = Op> {
    let how = proptest::sample::select(&[How::Ack, How::Retry, How::Extend, How::Bury]);
    prop_oneof![
        3 => (0..30_u64).prop_map(|delay_ms| Op::Enqueue { delay_ms }),
        2 => (1..30_u64).prop_map(|ms| Op::Pass { ms }),
        3 => (0..40_u64, 0..4_usize)
            .prop_map(|(duration_ms, max)| Op::Lease { duration_ms, max }),
        4 => (how, any::<usize>()).prop_map(|(how, lease)| Op::Settle { how, lease }),
        1 => any::<usize>().prop_map(|which| Op::Redrive { which }),
    ]
}

/// A job that is neither done nor dead.
#[derive(Clone, Copy, Debug)]
struct Live {
    due_ms: u64,
    attempt: u32,
    enqueued_ms: u64,
    /// Which of all leases is its last; no lease after a retry.
    lease: Option<usize>,
}

#[derive(Debug, Default)]
struct Model {
    now_ms: u64,
    enqueued: u64,
    acknowledged: u64,
    live: BTreeMap<u64, Live>,
    /// With its attempts and the time of its enqueuing.
    dead: BTreeMap<u64, (u32, u64)>,
    /// Every lease ever given: job and epoch.
    leases: Vec<(JobId, u64)>,
}

impl Model {
    fn due(&self, max: usize) -> Vec<u64> {
        let mut due: Vec<_> = self
            .live
            .iter()
            .filter(|(_, job)| job.due_ms <= self.now_ms)
            .map(|(id, job)| (job.due_ms, *id))
            .collect();
        due.sort_unstable();
        due.into_iter().take(max).map(|(_, id)| id).collect()
    }

    /// Whether the lease is still its job's last, and then what is left of it in the model.
    fn settle(&mut self, how: How, lease: usize) -> Settled {
        let id = self.leases[lease].0.0;
        let Some(job) = self.live.get_mut(&id).filter(|job| job.lease == Some(lease)) else {
            return Settled::Stale;
        };
        match how {
            How::Extend => job.due_ms = self.now_ms + 25,
            How::Retry => (job.due_ms, job.lease) = (self.now_ms + 15, None),
            How::Ack => {
                self.live.remove(&id);
                self.acknowledged += 1;
            }
            How::Bury => {
                self.dead.insert(id, (job.attempt, job.enqueued_ms));
                self.live.remove(&id);
            }
        }
        Settled::Yes
    }
}

async fn write<T: Send + 'static>(
    store: &Store,
    f: impl Fn(&mut Write) -> Result<T, Error> + Send + 'static,
) -> T {
    store.write(f).await.unwrap()
}

async fn step(store: &Store, model: &mut Model, op: Op) {
    let now_ms = model.now_ms;
    match op {
        Op::Pass { ms } => model.now_ms += ms,
        Op::Enqueue { delay_ms } => {
            let (number, due_ms) = (model.enqueued, now_ms + delay_ms);
            let id = write(store, move |tx| QUEUE.enqueue(tx, &Job(number), now_ms, due_ms)).await;
            assert_eq!(id, JobId(number));
            model.enqueued += 1;
            let job = Live { due_ms, attempt: 0, enqueued_ms: now_ms, lease: None };
            model.live.insert(number, job);
        }
        Op::Lease { duration_ms, max } => {
            let leased = write(store, move |tx| QUEUE.lease(tx, now_ms, duration_ms, max)).await;
            let ids: Vec<_> = leased.iter().map(|leased| leased.id.0).collect();
            assert_eq!(ids, model.due(max));
            for leased in leased {
                let job = model.live.get_mut(&leased.id.0).unwrap();
                job.attempt += 1;
                (job.due_ms, job.lease) = (now_ms + duration_ms, Some(model.leases.len()));
                model.leases.push((leased.id, leased.epoch));
                assert_eq!(leased.job, Job(leased.id.0));
                let told = (leased.attempt, leased.enqueued_ms);
                assert_eq!(told, (job.attempt, job.enqueued_ms));
            }
        }
        Op::Settle { how, lease } if !model.leases.is_empty() => {
            let lease = lease % model.leases.len();
            let (id, epoch) = model.leases[lease];
            let settled = write(store, move |tx| match how {
                How::Ack => QUEUE.ack(tx, id, epoch),
                How::Retry => QUEUE.retry(tx, id, epoch, now_ms + 15),
                How::Extend => QUEUE.extend(tx, id, epoch, now_ms + 25),
                How::Bury => QUEUE.bury(tx, id, epoch, "by the model"),
            });
            assert_eq!(settled.await, model.settle(how, lease), "{how:?}");
        }
        Op::Redrive { which } if !model.dead.is_empty() => {
            let (&id, &(_, enqueued_ms)) = model.dead.iter().nth(which % model.dead.len()).unwrap();
            assert!(write(store, move |tx| QUEUE.redrive(tx, JobId(id), now_ms)).await);
            model.dead.remove(&id);
            let job = Live { due_ms: now_ms, attempt: 0, enqueued_ms, lease: None };
            model.live.insert(id, job);
        }
        Op::Settle { .. } | Op::Redrive { .. } => {}
    }
}

fn compare(store: &Store, model: &Model) {
    let next_due = store.read(|tx| QUEUE.next_due(tx)).unwrap();
    assert_eq!(next_due, model.live.values().map(|job| job.due_ms).min());
    let counts = store.read(|tx| QUEUE.counts(tx)).unwrap();
    assert_eq!(counts.enqueued, model.enqueued);
    assert_eq!(counts.acknowledged, model.acknowledged);
    assert_eq!(counts.pending, model.live.len() as u64);
    assert_eq!(counts.buried - counts.redriven, model.dead.len() as u64);
    let dead = store.read(|tx| QUEUE.dead(tx, None, 1000)).unwrap();
    let dead: Vec<_> = dead.iter().map(|dead| (dead.id.0, dead.attempts)).collect();
    let wanted: Vec<_> = model.dead.iter().map(|(id, (attempts, _))| (*id, *attempts)).collect();
    assert_eq!(dead, wanted);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn the_queue_does_as_the_model(ops in vec(op(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Store::memory();
            let mut model = Model::default();
            for op in ops {
                step(&store, &mut model, op).await;
                compare(&store, &model);
            }
        });
    }
}
