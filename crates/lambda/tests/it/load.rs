//! Many calls at once, on data-plane threads as the server has them.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use gatemill_lambda::{Error, Invocation, Lambda};
use serde_json::{Value, json};

use crate::{Case, world::World};

pub(crate) const CASES: &[Case] = &[
    Case { name: "load::a_thousand_calls_at_once", body: thousand },
    Case { name: "load::the_account_limit", body: account_limit },
    Case { name: "load::a_bystander_is_served", body: bystander },
    Case { name: "load::shards_take_from_each_other", body: shards },
    Case { name: "load::quick_and_slow_calls", body: quick_and_slow },
    Case { name: "load::warm_calls", body: warm },
];

/// Runs the calls on two data-plane threads, all at once.
fn on_two_shards(world: &World, calls: Vec<Invocation>) -> Vec<Result<Value, Error>> {
    let mut halves = [Vec::new(), Vec::new()];
    for (at, call) in calls.into_iter().enumerate() {
        halves[at % 2].push(call);
    }
    let threads = halves.into_iter().enumerate().map(|(shard, calls)| {
        let lambda = Arc::clone(&world.lambda);
        std::thread::spawn(move || on_shard(&lambda, shard, calls))
    });
    let threads = threads.collect::<Vec<_>>();
    threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
}

fn on_shard(
    lambda: &Arc<Lambda>,
    shard: usize,
    calls: Vec<Invocation>,
) -> Vec<Result<Value, Error>> {
    gatemill_lambda::enter_shard(shard, None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = calls
            .into_iter()
            .map(|call| {
                let lambda = Arc::clone(lambda);
                tokio::spawn(async move {
                    let outcome = lambda.invoke(call).await?;
                    assert_eq!(outcome.function_error, None, "{outcome:?}");
                    Ok(serde_json::from_slice(&outcome.payload).unwrap())
                })
            })
            .collect();
        let mut results = Vec::new();
        for task in tasks {
            let limited = tokio::time::timeout(Duration::from_secs(100), task).await;
            results.push(limited.expect("no call hangs").unwrap());
        }
        results
    })
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn thousand(world: &World) {
    let code = "import time\ndef handler(e, c):\n    time.sleep(0.02)\n    return e\n";
    world.create("f", "python3.12", &[("app.py", code)]);
    // And what waits for further starts: three descriptors each.
    let before = descriptors() + 3 * gatemill_lambda::ParkingSettings::default().forked;
    let begun = Instant::now();
    let calls = (0..1000).map(|n| world.invocation("f", &n.to_string())).collect();
    let results = on_two_shards(world, calls);
    let took = begun.elapsed();
    let answered: HashSet<i64> =
        results.iter().map(|result| result.as_ref().unwrap().as_i64().unwrap()).collect();
    assert_eq!(answered.len(), 1000, "every call has its own answer");
    let status = world.lambda.status();
    println!("    1,000 calls in {took:?}, {} environments", status.idle);
    assert_eq!((status.busy, status.calls_in_flight), (0, 0));
    let log = world.log("/aws/lambda/f", |log| log.matches("REPORT R").count() == 1000);
    assert_eq!(log.matches("START RequestId").count(), 1000);
    world.call("DELETE", "/2015-03-31/functions/f", &Value::Null);
    world.run(async {
        let deadline = Instant::now() + Duration::from_secs(20);
        while (world.lambda.status().idle > 0 || descriptors() > before + 10)
            && Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(descriptors() <= before + 10, "{} descriptors, {before} before", descriptors());
}

fn account_limit(world: &World) {
    let code = "import time\ndef handler(e, c):\n    time.sleep(1)\n    return e\n";
    world.create("f", "python3.12", &[("app.py", code)]);
    let calls = (0..12).map(|n| world.invocation("f", &n.to_string())).collect();
    let results = on_two_shards(world, calls);
    let refused = results.iter().filter(|result| matches!(result, Err(Error::Throttled(_))));
    assert_eq!(refused.count(), 8);
    let (status, answer) = {
        let response = world.run(async {
            let calls: Vec<_> = (0..4)
                .map(|_| {
                    let lambda = Arc::clone(&world.lambda);
                    let call = world.invocation("f", "1");
                    tokio::spawn(async move { lambda.invoke(call).await })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(200)).await;
            let uri = "/2015-03-31/functions/f/invocations";
            let response = world.send("POST", uri, &[], "{}").await;
            for call in calls {
                call.await.unwrap().unwrap();
            }
            response
        });
        (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
    };
    assert_eq!(status, 429);
    assert_eq!(
        answer,
        r#"{"Type":"User","Reason":"ConcurrentInvocationLimitExceeded","message":"Rate Exceeded."}"#
    );
}

/// One function's burst does not keep another's first call waiting behind all its starts.
fn bystander(world: &World) {
    let code =
        "import time\ntime.sleep(0.1)\ndef handler(e, c):\n    time.sleep(0.5)\n    return e\n";
    world.create("burst", "python3.12", &[("app.py", code)]);
    world.create("quiet", "python3.12", &[("app.py", "def handler(e, c):\n    return e\n")]);
    world.run(async {
        let burst: Vec<_> = (0..60)
            .map(|_| {
                let (lambda, call) = (Arc::clone(&world.lambda), world.invocation("burst", "1"));
                tokio::spawn(async move { lambda.invoke(call).await.map(|_| Instant::now()) })
            })
            .collect();
        tokio::task::yield_now().await;
        world.lambda.invoke(world.invocation("quiet", "1")).await.unwrap();
        let quiet = Instant::now();
        let mut later = 0;
        for call in burst {
            later += u32::from(call.await.unwrap().unwrap() > quiet);
        }
        assert!(
            later >= 30,
            "the quiet function's call was answered before most of the burst: {later}"
        );
    });
}

fn shards(world: &World) {
    let code = "import os\nn = 0\ndef handler(e, c):\n    global n\n    n += 1\n    return n\n";
    world.create("f", "python3.12", &[("app.py", code)]);
    for n in 1..=6 {
        let (lambda, call) = (Arc::clone(&world.lambda), world.invocation("f", "{}"));
        let shard = n % 2;
        let thread = std::thread::spawn(move || on_shard(&lambda, shard, vec![call]));
        let answer = thread.join().unwrap().remove(0).unwrap();
        assert_eq!(answer, json!(n), "one environment serves both threads");
    }
}

/// Calls that are waited for on the spot and calls that are not, in one batch: each has its own answer and its own log,
/// also where the answer comes in pieces or the output fills its pipe.
fn quick_and_slow(world: &World) {
    let code = "import time\ndef handler(e, c):\n    print('n=%d' % e)\n    time.sleep(0.002 * (e % 3 == 0))\n    if \
                e % 50 == 7:\n        print('#' * 200000)\n        return 'y' * 1000000\n    return e\n";
    world.create("f", "python3.12", &[("app.py", code)]);
    let calls = (0..300).map(|n| world.invocation("f", &n.to_string())).collect();
    let results = on_two_shards(world, calls);
    let mut numbers = HashSet::new();
    let mut large = 0;
    for result in results {
        match result.unwrap() {
            Value::String(text) => large += usize::from(text.len() == 1_000_000),
            number => drop(numbers.insert(number.as_i64().unwrap())),
        }
    }
    assert_eq!((numbers.len(), large), (294, 6));
    let log = world.log("/aws/lambda/f", |log| log.matches("REPORT R").count() == 300);
    for n in 0..300 {
        assert!(log.contains(&format!("n={n}\n")), "{n}");
    }
    assert_eq!(log.matches('#').count(), 6 * 200_000);
}

/// Prints what a warm call takes; asserts nothing about it.
fn warm(world: &World) {
    world.create("f", "python3.12", &[("app.py", "def handler(e, c):\n    return e\n")]);
    world.invoke("f", "{}");
    let begun = Instant::now();
    world.run(async {
        for _ in 0..2000 {
            world.lambda.invoke(world.invocation("f", "{}")).await.unwrap();
        }
    });
    println!("    a warm call: {:?} (unoptimised build)", begun.elapsed() / 2000);
    assert_eq!(world.lambda.status().idle, 1);
}
