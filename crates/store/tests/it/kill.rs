//! `kill -9` in mid-write: what was acknowledged is there, and nothing is half there.
//!
//! The test starts itself again as a child that writes as fast as it can and prints a line for each
//! acknowledged write. The parent kills it at a random instant, opens the store, and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gatemill_store::{Digest, Error, JobId, Key, Queue, Record, Settled, Store, Table, Write};
use serde::{Deserialize, Serialize};

use crate::random::{Random, seed};

const ROUNDS: u64 = 34;
/// Rounds on a directory of their own, which are killed while they create it.
const CREATIONS: u64 = 16;
const TIME_MAX: Duration = Duration::from_secs(50);
/// Set for the child alone: the directory, then the round.
const CHILD: &str = "GATEMILL_STORE_KILL_TEST";
const CHILD_TIME_MAX: Duration = Duration::from_secs(10);
const TASKS: u64 = 12;
const ME: &str = "kill::what_was_acknowledged_survives_a_kill";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Half {
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Package {
    code: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Work {
    round: u64,
    task: u64,
    number: u64,
}

impl Record for Half {
    const VERSION: u8 = 1;
}
impl Record for Package {
    const VERSION: u8 = 1;
}
impl Record for Work {
    const VERSION: u8 = 1;
}

const LEFT: Table<Half> = Table::new("left");
const RIGHT: Table<Half> = Table::new("right");
const PACKAGES: Table<Package> = Table::new("packages");
const WORKS: Queue<Work> = Queue::new("works");
/// What was done, by job: written in the transaction that acknowledges it.
const DONE: Table<Work> = Table::new("done");

#[test]
fn what_was_acknowledged_survives_a_kill() {
    match env::var_os(CHILD) {
        Some(what) => {
            let what = what.into_string().unwrap();
            let (dir, round) = what.rsplit_once('#').unwrap();
            write_until_killed(Path::new(dir), round.parse().unwrap());
        }
        None => kill_and_compare(),
    }
}

// The child.

fn write_until_killed(dir: &Path, round: u64) {
    let store = Store::open(dir).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for task in 0..TASKS {
            tasks.push(tokio::spawn(write_forever(store.clone(), round, task)));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    panic!("nobody killed the child");
}

async fn write_forever(store: Store, round: u64, task: u64) {
    let begun = Instant::now();
    let mut random = Random::new(round * 1000 + task);
    for number in 0.. {
        if begun.elapsed() > CHILD_TIME_MAX {
            return;
        }
        match random.below(8) {
            0 => package(&store, round, task, number, &mut random).await,
            1..=3 => work(&store, round, task, number).await,
            4 => settle(&store).await,
            _ => pair(&store, round, task, number).await,
        }
    }
}

/// One line, by one call, so that a kill leaves whole lines and at most one without an end.
fn acknowledge(line: &str) {
    std::io::stdout().lock().write_all(format!("ack {line}\n").as_bytes()).unwrap();
}

fn place(round: u64, task: u64, number: u64) -> Key {
    Key::empty().and_u64(round).and_u64(task).and_u64(number)
}

async fn pair(store: &Store, round: u64, task: u64, number: u64) {
    let write = store.write(move |tx| -> Result<(), Error> {
        let half = Half { text: format!("{round}-{task}-{number} ").repeat(20) };
        LEFT.put(tx, &place(round, task, number), &half)?;
        RIGHT.put(tx, &place(round, task, number), &half)
    });
    write.await.unwrap();
    acknowledge(&format!("pair {round} {task} {number}"));
}

async fn package(store: &Store, round: u64, task: u64, number: u64, random: &mut Random) {
    let content = format!("{round}-{task}-{number} ").repeat(random.below(3000));
    let code = store.blobs().put(content.into()).await.unwrap();
    let at = place(round, task, number);
    store.write(move |tx| PACKAGES.put(tx, &at, &Package { code })).await.unwrap();
    acknowledge(&format!("package {round} {task} {number}"));
}

async fn work(store: &Store, round: u64, task: u64, number: u64) {
    let enqueue = move |tx: &mut Write| WORKS.enqueue(tx, &Work { round, task, number }, 1, 1);
    let id = store.write(enqueue).await.unwrap();
    acknowledge(&format!("work {id}"));
}

/// Leases a few jobs, then does and acknowledges each, or buries it.
async fn settle(store: &Store) {
    // Leases never end within a round, and the jobs of earlier rounds are due again in this one.
    let leased = store.write(|tx| WORKS.lease(tx, 10, 0, 5)).await.unwrap();
    for job in leased {
        let done = store.write(move |tx| -> Result<_, Error> {
            if job.id.0 % 5 == 0 {
                return WORKS.bury(tx, job.id, job.epoch, "the fifth");
            }
            let settled = WORKS.ack(tx, job.id, job.epoch)?;
            if settled == Settled::Yes {
                let at = Key::empty().and_u64(job.id.0);
                assert!(!DONE.contains(tx, &at)?, "done twice");
                DONE.put(tx, &at, &job.job)?;
            }
            Ok(settled)
        });
        if done.await.unwrap() == Settled::Yes {
            acknowledge(&format!("settled {}", job.id));
        }
    }
}

// The parent.

#[derive(Debug, Default)]
struct Acknowledged {
    pairs: BTreeSet<[u64; 3]>,
    packages: BTreeSet<[u64; 3]>,
    works: BTreeSet<u64>,
    settled: BTreeSet<u64>,
}

impl Acknowledged {
    fn note(&mut self, line: &str) {
        // The harness prints its own lines, and the first of ours may stand behind one.
        let Some((_, line)) = line.split_once("ack ") else { return };
        let (what, numbers) = line.split_once(' ').unwrap();
        let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
        match (what, numbers.as_slice()) {
            ("pair", &[round, task, number]) => drop(self.pairs.insert([round, task, number])),
            ("package", &[round, task, number]) => {
                self.packages.insert([round, task, number]);
            }
            ("work", &[id]) => drop(self.works.insert(id)),
            ("settled", &[id]) => assert!(self.settled.insert(id), "settled twice: {id}"),
            other => panic!("{other:?}"),
        }
    }
}

fn start(dir: &Path, round: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([ME, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{}#{round}", dir.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Lets a child write for a while, kills it, and notes what it acknowledged.
fn round(dir: &Path, round: u64, alive: Duration, acknowledged: &mut Acknowledged) {
    let mut child = start(dir, round);
    let stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut lines = Vec::new();
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        while stdout.read_line(&mut line).unwrap() > 0 {
            lines.extend(line.strip_suffix('\n').map(str::to_owned));
            line.clear();
        }
        lines
    });
    // Not a wait for something to happen: the random instant itself.
    std::thread::sleep(alive);
    child.kill().unwrap();
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), None, "the child ended before it was killed: {ended}");
    reader.join().unwrap().iter().for_each(|line| acknowledged.note(line));
}

fn places<R: Record>(store: &Store, table: &Table<R>) -> BTreeMap<[u64; 3], R> {
    let all = store.read(|tx| table.scan(tx, &Key::empty(), None, usize::MAX)).unwrap();
    let place = |key: &Key| [0, 1, 2].map(|part| key.number(part).unwrap());
    all.into_iter().map(|(key, record)| (place(&key), record)).collect()
}

fn check_pairs(store: &Store, acknowledged: &Acknowledged) {
    let (left, right) = (places(store, &LEFT), places(store, &RIGHT));
    assert!(left == right, "a transaction is half there");
    for (&[round, task, number], half) in &left {
        assert_eq!(half.text, format!("{round}-{task}-{number} ").repeat(20));
    }
    for pair in &acknowledged.pairs {
        assert!(left.contains_key(pair), "lost pair {pair:?}");
    }
}

async fn check_packages(store: &Store, acknowledged: &Acknowledged) {
    let packages = places(store, &PACKAGES);
    for package in &acknowledged.packages {
        assert!(packages.contains_key(package), "lost package {package:?}");
    }
    for (at, package) in packages {
        // `get` checks the content against its name.
        let code = store.blobs().get(&package.code).await.unwrap();
        assert!(code.is_some(), "a record names a blob that is not there: {at:?}");
    }
    for digest in store.blobs().list(None, usize::MAX).await.unwrap() {
        assert!(store.blobs().get(&digest).await.is_ok(), "a half blob: {digest}");
    }
}

fn check_works(store: &Store, acknowledged: &Acknowledged) {
    let all = store.read(|tx| DONE.scan(tx, &Key::empty(), None, usize::MAX)).unwrap();
    let done: BTreeSet<u64> = all.iter().map(|(key, _)| key.number(0).unwrap()).collect();
    let dead = store.read(|tx| WORKS.dead(tx, None, usize::MAX)).unwrap();
    let dead: BTreeSet<u64> = dead.iter().map(|dead| dead.id.0).collect();
    let counts = store.read(|tx| WORKS.counts(tx)).unwrap();
    assert_eq!(counts.enqueued, counts.acknowledged + counts.buried + counts.pending);
    assert_eq!(counts.acknowledged, u64::try_from(done.len()).unwrap(), "done without a trace");
    assert_eq!((counts.dead, counts.buried), (dead.len() as u64, dead.len() as u64));
    let settled: BTreeSet<u64> = done.union(&dead).copied().collect();
    assert_eq!(settled.len() as u64, counts.acknowledged + counts.buried, "done and dead");
    for id in &acknowledged.settled {
        assert!(settled.contains(id), "lost settlement {id}");
    }
    let last = acknowledged.works.last().map_or(0, |last| last + 1);
    assert!(counts.enqueued >= last, "lost work: {counts:?}, {last}");
}

/// At the end, every job that is left is handed out: none hides.
async fn check_drain(store: &Store) {
    let pending = store.read(|tx| WORKS.counts(tx)).unwrap().pending;
    let mut drained = 0;
    loop {
        let drain = store.write(|tx| -> Result<_, Error> {
            let leased = WORKS.lease(tx, 1_000_000, 100, 500)?;
            for job in &leased {
                assert_eq!(WORKS.ack(tx, job.id, job.epoch)?, Settled::Yes);
            }
            Ok(leased.len() as u64)
        });
        match drain.await.unwrap() {
            0 => break,
            some => drained += some,
        }
    }
    assert_eq!(drained, pending);
    let unknown = store.write(|tx| WORKS.ack(tx, JobId(0), 1)).await.unwrap();
    assert_eq!(unknown, Settled::Stale);
}

fn kill_and_compare() {
    let seed = seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let compare = |dir: &Path, acknowledged: &Acknowledged| {
        let store = Store::open(dir).unwrap();
        check_pairs(&store, acknowledged);
        runtime.block_on(check_packages(&store, acknowledged));
        check_works(&store, acknowledged);
        store
    };
    for creation in 0..CREATIONS {
        let dir = tempfile::tempdir().unwrap();
        let mut acknowledged = Acknowledged::default();
        let alive = Duration::from_micros(random.next() % 40_000);
        round(dir.path(), creation, alive, &mut acknowledged);
        drop(compare(dir.path(), &acknowledged));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    let mut rounds = 0;
    while rounds < ROUNDS {
        assert!(begun.elapsed() < TIME_MAX, "only {rounds} rounds in {TIME_MAX:?}");
        let alive = Duration::from_micros(20_000 + random.next() % 250_000);
        round(dir.path(), rounds, alive, &mut acknowledged);
        drop(compare(dir.path(), &acknowledged));
        rounds += 1;
    }
    let Acknowledged { pairs, packages, works, settled } = &acknowledged;
    println!(
        "{rounds} kills, {CREATIONS} in creation: {} pairs, {} packages, {} jobs, {} settled, {:.1?}",
        pairs.len(),
        packages.len(),
        works.len(),
        settled.len(),
        begun.elapsed()
    );
    let kinds = [pairs.len(), packages.len(), works.len(), settled.len()];
    assert!(!kinds.contains(&0), "a kind of write was never acknowledged: {kinds:?}");
    runtime.block_on(check_drain(&compare(dir.path(), &acknowledged)));
}
