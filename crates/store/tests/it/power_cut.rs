//! The power goes at any instant, and takes with it any of what was not synced.
//!
//! The storage below the embedded engine keeps, for every sector of 512 bytes, all that was written to it
//! since the last sync. When the power goes, each sector independently falls back to any of these, and the
//! length to any that it had. A sector is whole: disks promise that, and nothing about their order.
//! Then the store is opened on what is left, possibly cut again while it recovers, and must hold all
//! that was acknowledged, and of the writes under way the first few, each whole.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gatemill_store::{Error, Key, Record, Store, Table, Write};
use redb::StorageBackend;
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use crate::random::{Random, seed};

const TRIALS: usize = 3000;
const TRIALS_MIN: usize = 100;
const TIME_MAX: Duration = Duration::from_secs(25);
const SECTOR: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cell(String);

impl Record for Cell {
    const VERSION: u8 = 1;
}

const CELLS: [Table<Cell>; 2] = [Table::new("cut-a"), Table::new("cut-b")];

type Map = BTreeMap<(usize, u64), String>;

/// A disk with a memory for what was not synced.
#[derive(Debug, Default)]
struct Platter {
    bytes: Vec<u8>,
    /// Per sector: what it was at the last sync, and each state since, but for the present one.
    unsynced: BTreeMap<usize, Vec<[u8; SECTOR]>>,
    /// The lengths since the last sync, but for the present one.
    lengths: Vec<usize>,
    /// How many more operations there is power for.
    operations_left: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Platter>>);

impl Platter {
    fn operate(&mut self) -> io::Result<()> {
        match &mut self.operations_left {
            Some(0) => Err(io::Error::other("there is no power")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn sector(&self, sector: usize) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        let from = (sector * SECTOR).min(self.bytes.len());
        let to = (from + SECTOR).min(self.bytes.len());
        bytes[..to - from].copy_from_slice(&self.bytes[from..to]);
        bytes
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        for sector in offset / SECTOR..(offset + data.len()).div_ceil(SECTOR) {
            let before = self.sector(sector);
            self.unsynced.entry(sector).or_default().push(before);
        }
        self.bytes[offset..offset + data.len()].copy_from_slice(data);
    }

    /// What is left when the power goes now.
    fn survivor(&self, random: &mut Random) -> Platter {
        let mut bytes = self.bytes.clone();
        // Some cuts keep nearly all, some nearly nothing; most are in between.
        let keep_of_ten = random.below(11);
        for (sector, states) in &self.unsynced {
            if random.below(10) < keep_of_ten {
                continue;
            }
            let state = states[random.below(states.len())];
            let from = (sector * SECTOR).min(bytes.len());
            let to = (from + SECTOR).min(bytes.len());
            bytes[from..to].copy_from_slice(&state[..to - from]);
        }
        if !self.lengths.is_empty() && random.below(10) >= keep_of_ten {
            bytes.resize(self.lengths[random.below(self.lengths.len())], 0);
        }
        Platter { bytes, ..Platter::default() }
    }
}

impl Disk {
    fn of(platter: Platter, operations_left: Option<usize>) -> Self {
        Disk(Arc::new(Mutex::new(Platter { operations_left, ..platter })))
    }

    fn survivor(&self, random: &mut Random) -> Platter {
        self.0.lock().unwrap().survivor(random)
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.0.lock().unwrap().bytes.len()).unwrap())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.0.lock().unwrap();
        let from = place(offset);
        let bytes = platter.bytes.get(from..from + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.operate()?;
        let length = platter.bytes.len();
        platter.lengths.push(length);
        platter.bytes.resize(place(len), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.operate()?;
        platter.unsynced.clear();
        platter.lengths.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.operate()?;
        platter.write(place(offset), data);
        Ok(())
    }
}

/// What one write does: puts and deletions, over both tables.
#[derive(Clone, Debug)]
struct Change(Vec<((usize, u64), Option<String>)>);

impl Change {
    fn random(random: &mut Random) -> Self {
        let cells = 1 + random.below(8);
        let cell = |random: &mut Random| {
            let at = (random.below(2), random.next() % 40);
            let length = if random.once_in(8) { 6000 } else { random.below(300) };
            let text = format!("{:x}", random.next()).repeat(length.div_ceil(16));
            (at, (!random.once_in(4)).then_some(text))
        };
        Change((0..cells).map(|_| cell(random)).collect())
    }

    fn write(&self, tx: &mut Write) -> Result<(), Error> {
        for ((table, at), text) in &self.0 {
            let key = Key::empty().and_u64(*at);
            match text {
                Some(text) => CELLS[*table].put(tx, &key, &Cell(text.clone()))?,
                None => drop(CELLS[*table].delete(tx, &key)?),
            }
        }
        Ok(())
    }

    fn apply(&self, map: &mut Map) {
        for (at, text) in &self.0 {
            match text {
                Some(text) => map.insert(*at, text.clone()),
                None => map.remove(at),
            };
        }
    }
}

fn read(store: &Store) -> Map {
    let read = store.read(|tx| -> Result<Map, Error> {
        let mut map = Map::new();
        for (table, cells) in CELLS.iter().enumerate() {
            for (key, Cell(text)) in cells.scan(tx, &Key::empty(), None, usize::MAX)? {
                map.insert((table, key.number(0).unwrap()), text);
            }
        }
        Ok(map)
    });
    read.unwrap()
}

#[derive(Debug, Default)]
struct Seen {
    trials: usize,
    acknowledged: usize,
    survived_unacknowledged: usize,
    cut_again: usize,
}

/// One life of a disk, from what is on it until the power goes. Answers the states that may be found
/// afterwards, the oldest first: all acknowledged, then with each write that was under way.
fn live(disk: &Disk, mut map: Map, random: &mut Random, seen: &mut Seen) -> Vec<Map> {
    let Ok(store) = Store::on_backend(disk.clone()) else { return vec![map] };
    assert_eq!(read(&store), map, "what recovery found does not change by itself");
    let runtime = Builder::new_current_thread().build().unwrap();
    for _ in 0..60 {
        let changes: Vec<_> = (0..1 + random.below(3)).map(|_| Change::random(random)).collect();
        let answers = runtime.block_on(async {
            let mut waiting = Vec::new();
            for change in &changes {
                let (store, change) = (store.clone(), change.clone());
                let write = async move { store.write(move |tx| change.write(tx)).await };
                waiting.push(tokio::spawn(write));
            }
            let mut answers = Vec::new();
            for write in waiting {
                answers.push(write.await.unwrap().is_ok());
            }
            answers
        });
        let acknowledged = answers.iter().take_while(|answer| **answer).count();
        assert!(answers[acknowledged..].iter().all(|answer| !answer), "the order of writes is one");
        changes[..acknowledged].iter().for_each(|change| change.apply(&mut map));
        seen.acknowledged += acknowledged;
        if acknowledged < changes.len() {
            let mut states = vec![map.clone()];
            for change in &changes[acknowledged..] {
                change.apply(&mut map);
                states.push(map.clone());
            }
            return states;
        }
    }
    vec![map]
}

/// The power may go while the store recovers too; in the end it must open and hold one of `states`.
fn recover(mut left: Platter, states: &[Map], random: &mut Random, seen: &mut Seen) -> Platter {
    for _ in 0..random.below(3) {
        let disk = Disk::of(left, Some(random.below(30)));
        if let Ok(store) = Store::on_backend(disk.clone()) {
            assert!(states.contains(&read(&store)), "lost or half written");
        }
        seen.cut_again += 1;
        left = disk.survivor(random);
    }
    let disk = Disk::of(left, None);
    let store = Store::on_backend(disk.clone()).expect("it opens when there is power");
    let found = read(&store);
    let state = states.iter().position(|state| *state == found);
    seen.survived_unacknowledged += state.expect("lost or half written");
    // Left as it is found: recovered, perhaps not closed.
    let left = disk.survivor(random);
    drop(store);
    left
}

fn empty_disk() -> Vec<u8> {
    let disk = Disk::default();
    drop(Store::on_backend(disk.clone()).unwrap());
    let platter = disk.0.lock().unwrap();
    assert!(platter.unsynced.is_empty(), "a closed store has synced everything");
    platter.bytes.clone()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_half_there() {
    let seed = seed();
    println!("seed {seed}");
    let begun = Instant::now();
    let empty = empty_disk();
    let mut seen = Seen::default();
    while seen.trials < TRIALS && begun.elapsed() < TIME_MAX {
        let trial = seed.wrapping_add(seen.trials as u64);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut random = Random::new(trial);
            let left = Platter { bytes: empty.clone(), ..Platter::default() };
            let most = if random.once_in(2) { 40 } else { 400 };
            let power = 5 + random.below(most);
            let disk = Disk::of(left, Some(power));
            let states = live(&disk, Map::new(), &mut random, &mut seen);
            let left = disk.survivor(&mut random);
            recover(left, &states, &mut random, &mut seen);
        }));
        if let Err(panic) = outcome {
            println!("trial seed {trial}");
            std::panic::resume_unwind(panic);
        }
        seen.trials += 1;
    }
    println!("{seen:?} in {:.2?}", begun.elapsed());
    assert!(seen.trials >= TRIALS_MIN, "too slow to prove anything: {seen:?}");
    assert!(seen.acknowledged > 0 && seen.cut_again > 0, "the harness cuts where nothing happens");
}
