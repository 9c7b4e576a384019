//! Fills the store of a server that does not run with copies of one function: `fill STORE FUNCTIONS VERSIONS`.
//!
//! The function is called `seed` and has its version 1; the store gets so many functions like it and `seed` so many versions,
//! with the records beside them that creating each through the API would have made. A hundred thousand functions take seconds
//! that way and would take minutes through the API. Records are copied as the JSON that they are, so nothing here knows their form.

use std::{error::Error, path::Path};

use gatemill_store::{Key, Record, Store, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Any record, as its JSON.
#[derive(Serialize, Deserialize, Clone)]
struct Raw(Value);

impl Record for Raw {
    const VERSION: u8 = 1;
}

const FUNCTIONS: Table<Raw> = Table::new("lambda-functions");
const CODE_USES: Table<Raw> = Table::new("lambda-code-uses");
const VERSIONS: Table<Raw> = Table::new("lambda-versions");
const VERSION_NUMBERS: Table<Raw> = Table::new("lambda-version-numbers");
const USAGE: Table<Raw> = Table::new("lambda-usage");
const PLACE: [&str; 2] = ["000000000000", "us-east-1"];
/// Records of one commit.
const BATCH: u64 = 5_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, functions, versions] = &arguments[..] else {
        return Err("fill STORE FUNCTIONS VERSIONS".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(fill(Path::new(store), functions.parse()?, versions.parse()?))
}

fn place(name: &str) -> Key {
    Key::new(PLACE).and(name)
}

async fn fill(dir: &Path, functions: u64, versions: u64) -> Result<(), Box<dyn Error>> {
    let store = Store::open(dir)?;
    let (seed, first) = store.read(|tx| {
        let version = place("seed").and_u64(1);
        Ok::<_, gatemill_store::Error>((
            FUNCTIONS.get(tx, &place("seed"))?,
            VERSIONS.get(tx, &version)?,
        ))
    })?;
    let (Some(seed), Some(first)) = (seed, first) else { return Err("there is no seed".into()) };
    let digest = seed.0["configuration"]["package"]["digest"].as_str().ok_or("no digest")?;
    let digest = digest.to_owned();
    for begin in (0..functions).step_by(usize::try_from(BATCH)?) {
        let (seed, digest) = (seed.clone(), digest.clone());
        let write = store.write(move |tx| {
            for number in begin..functions.min(begin + BATCH) {
                let name = format!("fill-{number:06}");
                FUNCTIONS.put(tx, &place(&name), &seed)?;
                let used = Key::new([&digest, PLACE[0], PLACE[1], &name]);
                CODE_USES.put(tx, &used, &Raw(json!({})))?;
            }
            Ok::<_, gatemill_store::Error>(())
        });
        write.await?;
    }
    let write = store.write(move |tx| {
        for number in 2..=versions {
            VERSIONS.put(tx, &place("seed").and_u64(number), &first)?;
            let used = Key::new([&digest, PLACE[0], PLACE[1], "seed"]).and_u64(number);
            CODE_USES.put(tx, &used, &Raw(json!({})))?;
        }
        VERSION_NUMBERS.put(tx, &place("seed"), &Raw(json!({ "last": versions })))?;
        let mut usage = USAGE.get(tx, &Key::new(PLACE))?.unwrap_or(Raw(json!({})));
        let known = usage.0["functions"].as_u64().unwrap_or(0);
        usage.0["functions"] = json!(known + functions);
        USAGE.put(tx, &Key::new(PLACE), &usage)
    });
    write.await?;
    store.close().await?;
    Ok(())
}
