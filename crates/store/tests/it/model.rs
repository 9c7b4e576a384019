//! The store against a model of it: an ordered map that is copied before each transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatemill_store::{Error, Key, Reader, Record, Store, Table, Write};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use crate::keys::{Model, key_of, part};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Value(u32);

impl Record for Value {
    const VERSION: u8 = 1;
}

const TABLES: [Table<Value>; 2] = [Table::new("model-a"), Table::new("model-b")];

type Parts = Vec<Model>;
type Map = [BTreeMap<Parts, u32>; 2];

#[derive(Clone, Debug)]
enum Op {
    Put(usize, Parts, u32),
    Delete(usize, Parts),
    Look(Look),
}

#[derive(Clone, Debug)]
struct Look {
    table: usize,
    prefix: Parts,
    after: Option<Parts>,
    limit: usize,
}

#[derive(Clone, Debug)]
struct Transaction {
    ops: Vec<Op>,
    refuse: bool,
}

fn parts() -> impl Strategy<Value = Parts> {
    vec(part(), 0..4)
}

fn look() -> impl Strategy<Value = Look> {
    (0..2_usize, vec(part(), 0..2), proptest::option::of(parts()), 0..6_usize)
        .prop_map(|(table, prefix, after, limit)| Look { table, prefix, after, limit })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..2_usize, parts(), any::<u32>()).prop_map(|(table, at, to)| Op::Put(table, at, to)),
        2 => (0..2_usize, parts()).prop_map(|(table, at)| Op::Delete(table, at)),
        3 => look().prop_map(Op::Look),
    ]
}

fn transactions(most: usize) -> impl Strategy<Value = Vec<Transaction>> {
    let one = (vec(op(), 0..12), proptest::bool::weighted(0.3))
        .prop_map(|(ops, refuse)| Transaction { ops, refuse });
    vec(one, 1..most)
}

/// What a look must find.
struct Found {
    forward: Vec<(Key, Value)>,
    reverse: Vec<(Key, Value)>,
    count: usize,
    at_prefix: Option<Value>,
}

fn expected(map: &Map, look: &Look) -> Found {
    let below = || map[look.table].iter().filter(|(key, _)| key.starts_with(&look.prefix));
    let entry = |(key, value): (&Parts, &u32)| (key_of(key), Value(*value));
    let forward = below()
        .filter(|(key, _)| look.after.as_ref().is_none_or(|after| *key > after))
        .take(look.limit)
        .map(entry)
        .collect();
    let reverse = below()
        .rev()
        .filter(|(key, _)| look.after.as_ref().is_none_or(|before| *key < before))
        .take(look.limit)
        .map(entry)
        .collect();
    let at_prefix = map[look.table].get(&look.prefix).copied().map(Value);
    Found { forward, reverse, count: below().count(), at_prefix }
}

fn check_look(from: &impl Reader, map: &Map, look: &Look) -> Result<(), Error> {
    let table = &TABLES[look.table];
    let (prefix, after) = (key_of(&look.prefix), look.after.as_deref().map(key_of));
    let found = expected(map, look);
    assert_eq!(table.scan(from, &prefix, after.as_ref(), look.limit)?, found.forward, "{look:?}");
    assert_eq!(
        table.scan_reverse(from, &prefix, after.as_ref(), look.limit)?,
        found.reverse,
        "{look:?}"
    );
    assert_eq!(table.count(from, &prefix)?, found.count, "{look:?}");
    assert_eq!(table.get(from, &prefix)?, found.at_prefix, "{look:?}");
    Ok(())
}

/// Does to the model and the store the same, comparing as it goes. Answers the model after it.
fn apply(tx: &mut Write, map: &Map, transaction: &Transaction) -> Result<Map, Error> {
    let mut map = map.clone();
    for op in &transaction.ops {
        match op {
            Op::Put(table, at, to) => {
                TABLES[*table].put(tx, &key_of(at), &Value(*to))?;
                map[*table].insert(at.clone(), *to);
            }
            Op::Delete(table, at) => {
                let was_there = TABLES[*table].delete(tx, &key_of(at))?;
                assert_eq!(was_there, map[*table].remove(at).is_some(), "{at:?}");
            }
            Op::Look(look) => check_look(tx, &map, look)?,
        }
    }
    Ok(map)
}

#[derive(Debug)]
enum Ended {
    Refused,
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Ended::Failed(error)
    }
}

fn follow(store: &Store, transactions: Vec<Transaction>, looks: &[Look]) {
    let runtime = Builder::new_current_thread().build().unwrap();
    let mut map = Map::default();
    for transaction in transactions {
        let before = Arc::new(map.clone());
        let write = store.write(move |tx| {
            let after = apply(tx, &before, &transaction)?;
            if transaction.refuse { Err(Ended::Refused) } else { Ok(after) }
        });
        match runtime.block_on(write) {
            Ok(after) => map = after,
            Err(Ended::Refused) => {}
            Err(Ended::Failed(error)) => panic!("{error}"),
        }
        for look in looks {
            store.read(|tx| check_look(tx, &map, look)).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn memory(transactions in transactions(12), looks in vec(look(), 1..4)) {
        follow(&Store::memory(), transactions, &looks);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn embedded(transactions in transactions(12), looks in vec(look(), 1..4)) {
        let dir = tempfile::tempdir().unwrap();
        follow(&Store::open(dir.path()).unwrap(), transactions, &looks);
    }
}
