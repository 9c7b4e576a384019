//! Admission against counters alone: no store, no environment.

use super::*;

fn load(limit: u32) -> (Loads, Arc<Load>) {
    let loads = Loads::new(limit);
    let load = loads.of(&Store::memory(), &key("f")).unwrap();
    (loads, load)
}

fn key(name: &str) -> FunctionKey {
    FunctionKey::new("000000000000", "us-east-1", name)
}

fn refused(entered: Result<Permit, Throttle>) -> Throttle {
    entered.map(drop).unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn an_account_has_a_limit_in_each_region() {
    let (loads, f) = load(2);
    let store = Store::memory();
    let g = loads.of(&store, &key("g")).unwrap();
    let there = FunctionKey::new("000000000000", "eu-west-1", "f");
    let there = loads.of(&store, &there).unwrap();
    let first = f.enter(None).unwrap();
    let _second = g.enter(None).unwrap();
    assert_eq!(refused(f.enter(None)), Throttle::Account);
    assert!(there.enter(None).is_ok());
    drop(first);
    assert!(g.enter(None).is_ok());
    assert_eq!(loads.tallies().throttled.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_reserved_is_a_guarantee_and_a_cap() {
    let (loads, f) = load(3);
    f.reserve(Some(1));
    loads.allotted("000000000000", "us-east-1", 1);
    let g = loads.of(&Store::memory(), &key("g")).unwrap();
    let _others = [g.enter(None).unwrap(), g.enter(None).unwrap()];
    assert_eq!(refused(g.enter(None)), Throttle::Account);
    let own = f.enter(None).unwrap();
    assert_eq!(refused(f.enter(None)), Throttle::Reserved);
    drop(own);
    assert!(f.enter(None).is_ok());
    f.reserve(Some(0));
    assert_eq!(refused(f.enter(None)), Throttle::Reserved);
    f.reserve(None);
    loads.allotted("000000000000", "us-east-1", 0);
    assert!(f.enter(None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_made_ahead_leaves_room_for_no_call_that_may_not_run() {
    let (loads, f) = load(1_000);
    assert!(f.has_concurrency_for(|| panic!("only a function's own limit is counted against")));
    f.reserve(Some(2));
    assert!(f.has_concurrency_for(|| 1));
    assert!(!f.has_concurrency_for(|| 2));
    let running = f.enter(None).unwrap();
    assert!(f.has_concurrency_for(|| 0));
    assert!(!f.has_concurrency_for(|| 1));
    drop(running);
    f.reserve(Some(0));
    assert!(!f.has_concurrency_for(|| 0));
    f.reserve(None);
    loads.allotted("000000000000", "us-east-1", 1_000);
    assert!(!f.has_concurrency_for(|| 0));
}

#[tokio::test(start_paused = true)]
async fn ten_requests_a_second_for_each_unit() {
    let (loads, f) = load(1);
    for _ in 0..10 {
        f.enter(None).unwrap();
    }
    assert_eq!(refused(f.enter(None)), Throttle::Rate);
    let g = loads.of(&Store::memory(), &key("g")).unwrap();
    assert!(g.enter(None).is_ok(), "the rate is each function's own");
    let h = loads.of(&Store::memory(), &key("h")).unwrap();
    h.reserve(Some(2));
    assert_eq!(std::iter::from_fn(|| h.enter(None).ok()).take(100).count(), 20);
    assert_eq!(refused(h.enter(None)), Throttle::ReservedRate);
    tokio::time::advance(Duration::from_millis(50)).await;
    assert!(h.enter(None).is_ok(), "it comes back");
    assert_eq!(h.running.load(Ordering::Relaxed), 0, "who is refused holds nothing");
}

#[tokio::test(start_paused = true)]
async fn environments_come_at_a_rate() {
    let (_loads, f) = load(1_000);
    let leave = || std::iter::from_fn(|| f.grow().ok()).take(5_000).collect::<Vec<_>>();
    let leaves = leave();
    assert_eq!(leaves.len(), 1_000);
    assert_eq!(f.grow().map(drop).unwrap_err(), Throttle::Rate);
    drop(leaves);
    let again = leave();
    assert_eq!(again.len(), 1_000, "what was not used came back");
    for one in again {
        one.used();
    }
    assert_eq!(leave().len(), 0);
    tokio::time::advance(Duration::from_secs(1)).await;
    let more = leave();
    assert_eq!(more.len(), 100);
    more.into_iter().for_each(Growth::used);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(leave().len(), 1_000, "and no more than a burst is saved up");
}

#[test]
fn environments_of_single_tenants_are_counted() {
    let (_loads, f) = load(2);
    let all: Vec<_> = std::iter::from_fn(|| f.tenant_environment().ok()).take(100).collect();
    assert_eq!(all.len(), 5, "2.5 for each call that may run");
    drop(all);
    assert!(f.tenant_environment().is_ok());
}
