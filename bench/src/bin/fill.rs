//! Fills the store of a server that does not run with copies of what it holds: `fill STORE FUNCTIONS VERSIONS MAPPINGS APIS`.
//!
//! There is a function called `seed` with its version 1, and one API. The store gets so many functions like that one, with the
//! records beside them that creating each through the API would have made; `seed` gets so many versions, and so many mappings
//! of a queue that are disabled; the API gets so many siblings. A hundred thousand functions take seconds that way and would
//! take minutes through the API. Records are copied as the JSON that they are, so nothing here knows their form, but of a
//! mapping, which cannot be made without a queue.

use std::{error::Error, path::Path};

use gatemill_store::{Key, Part, Record, Store, Table, Write};
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
const MAPPINGS: Table<Raw> = Table::new("lambda-mappings");
const MAPPINGS_BY_FUNCTION: Table<Raw> = Table::new("lambda-mappings-by-function");
const MAPPINGS_BY_SOURCE: Table<Raw> = Table::new("lambda-mappings-by-source");
const APIS: Table<Raw> = Table::new("gateway-apis");
/// What belongs to an API, whose id comes first in the key.
static OF_AN_API: [Table<Raw>; 9] = [
    Table::new("gateway-owners"),
    Table::new("gateway-routes"),
    Table::new("gateway-route-keys"),
    Table::new("gateway-route-targets"),
    Table::new("gateway-integrations"),
    Table::new("gateway-stages"),
    Table::new("gateway-deployments"),
    Table::new("gateway-deployed"),
    Table::new("gateway-versions"),
];
const PLACE: [&str; 2] = ["000000000000", "us-east-1"];
/// Records of one commit.
const BATCH: u64 = 5_000;

type Stored<T> = Result<T, gatemill_store::Error>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, functions, versions, mappings, apis] = &arguments[..] else {
        return Err("fill STORE FUNCTIONS VERSIONS MAPPINGS APIS".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (functions, versions) = (functions.parse()?, versions.parse()?);
    let (mappings, apis) = (mappings.parse()?, apis.parse()?);
    runtime.block_on(async {
        let store = Store::open(Path::new(store))?;
        fill_functions(&store, functions).await?;
        fill_versions(&store, versions).await?;
        in_batches(&store, mappings, mapping).await?;
        fill_apis(&store, apis).await?;
        store.close().await?;
        Ok(())
    })
}

fn place(name: &str) -> Key {
    Key::new(PLACE).and(name)
}

/// Does something for each number, many in one commit.
async fn in_batches(
    store: &Store,
    count: u64,
    put: impl Fn(&mut Write, u64) -> Stored<()> + Send + Sync + Clone + 'static,
) -> Stored<()> {
    for begin in (0..count).step_by(usize::try_from(BATCH).unwrap_or(1)) {
        let (put, end) = (put.clone(), count.min(begin + BATCH));
        store.write(move |tx| (begin..end).try_for_each(|number| put(tx, number))).await?;
    }
    Ok(())
}

fn digest(seed: &Raw) -> Result<String, Box<dyn Error>> {
    let digest = seed.0["configuration"]["package"]["digest"].as_str();
    Ok(digest.ok_or("no digest")?.to_owned())
}

fn seed(store: &Store) -> Result<Raw, Box<dyn Error>> {
    Ok(store.read(|tx| FUNCTIONS.get(tx, &place("seed")))?.ok_or("there is no seed")?)
}

async fn fill_functions(store: &Store, functions: u64) -> Result<(), Box<dyn Error>> {
    let seed = seed(store)?;
    let digest = digest(&seed)?;
    in_batches(store, functions, move |tx, number| {
        let name = format!("fill-{number:06}");
        FUNCTIONS.put(tx, &place(&name), &seed)?;
        let used = Key::new([&digest, PLACE[0], PLACE[1], &name]);
        CODE_USES.put(tx, &used, &Raw(json!({})))
    })
    .await?;
    let write = store.write(move |tx| {
        let mut usage = USAGE.get(tx, &Key::new(PLACE))?.unwrap_or(Raw(json!({})));
        let known = usage.0["functions"].as_u64().unwrap_or(0);
        usage.0["functions"] = json!(known + functions);
        USAGE.put(tx, &Key::new(PLACE), &usage)
    });
    Ok(write.await?)
}

async fn fill_versions(store: &Store, versions: u64) -> Result<(), Box<dyn Error>> {
    let digest = digest(&seed(store)?)?;
    let first = store.read(|tx| VERSIONS.get(tx, &place("seed").and_u64(1)))?;
    let first = first.ok_or("the seed has no version")?;
    let write = store.write(move |tx| {
        for number in 2..=versions {
            VERSIONS.put(tx, &place("seed").and_u64(number), &first)?;
            let used = Key::new([&digest, PLACE[0], PLACE[1], "seed"]).and_u64(number);
            CODE_USES.put(tx, &used, &Raw(json!({})))?;
        }
        VERSION_NUMBERS.put(tx, &place("seed"), &Raw(json!({ "last": versions.max(1) })))
    });
    Ok(write.await?)
}

fn mapping(tx: &mut Write, number: u64) -> Stored<()> {
    let [account, region] = PLACE;
    let source = format!("arn:aws:sqs:{region}:{account}:queue-{number}");
    let uuid = format!("00000000-0000-4000-8000-{number:012}");
    let record = json!({
        "function_arn": format!("arn:aws:lambda:{region}:{account}:function:seed"),
        "source_arn": source, "state": "Disabled", "revision": 1, "last_modified_ms": 1_700_000_000_000_u64,
        "settings": {
            "batch_size": 10, "window_s": 0, "filters": [], "reports_item_failures": false, "maximum_concurrency": null,
            "stream": null, "counts_events": false,
        },
    });
    let nothing = Raw(json!({}));
    MAPPINGS.put(tx, &place(&uuid), &Raw(record))?;
    MAPPINGS_BY_FUNCTION.put(tx, &place("seed").and(&uuid), &nothing)?;
    MAPPINGS_BY_SOURCE.put(tx, &place(&source).and(&uuid), &nothing)
}

async fn fill_apis(store: &Store, apis: u64) -> Result<(), Box<dyn Error>> {
    let all = store.read(|tx| APIS.scan(tx, &Key::new(PLACE), None, 1))?;
    let (key, api) = all.into_iter().next().ok_or("there is no API")?;
    let id = key.text(2).ok_or("an API has no id")?.into_owned();
    let mut records = Vec::new();
    for (index, table) in OF_AN_API.iter().enumerate() {
        let of_it = store.read(|tx| table.scan(tx, &Key::new([&id]), None, usize::MAX))?;
        records.extend(of_it.into_iter().map(|(key, record)| (index, key, record)));
    }
    in_batches(store, apis, move |tx, number| {
        let id = format!("f{number:09}");
        APIS.put(tx, &place(&id), &api)?;
        records.iter().try_for_each(|(index, key, record)| {
            let rest = key.parts().into_iter().skip(1);
            let key = rest.fold(Key::new([&id]), |key, part| match part {
                Part::Text(text) => key.and(text),
                Part::Number(number) => key.and_u64(number),
            });
            OF_AN_API[*index].put(tx, &key, record)
        })
    })
    .await?;
    Ok(())
}
