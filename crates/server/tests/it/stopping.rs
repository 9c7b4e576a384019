//! How a server ends: cleanly, at once, or without being asked.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::world::{Answer, PATIENCE, Server, directory, head, logs_headers};

/// Waits until the server has a call in hand beside the one that asks: another thread of its may be slower than this one.
fn until_it_has_a_call(server: &Server) {
    let give_up = Instant::now() + PATIENCE;
    while server.get("/_gatemill/health").json()["inFlight"].as_u64() < Some(2) {
        assert!(Instant::now() < give_up, "the call never arrived");
    }
}

#[test]
fn sigterm_lets_a_running_call_end_and_takes_no_new_ones() {
    let dir = directory();
    let mut server = Server::start("dev", dir.path());
    let body = br#"{"logGroupName":"slow"}"#;
    let mut call = server.connect();
    call.write_all(&head("POST", "/", &logs_headers("CreateLogGroup"), body.len())).unwrap();
    call.write_all(&body[..5]).unwrap();
    until_it_has_a_call(&server);
    server.signal("-TERM");
    let give_up = Instant::now() + PATIENCE;
    while TcpStream::connect(server.address).is_ok() {
        assert!(Instant::now() < give_up, "connections are still accepted");
        std::thread::sleep(Duration::from_millis(5));
    }
    call.write_all(&body[5..]).unwrap();
    assert_eq!(Answer::read(&mut call).status, 200);
    assert!(server.wait().success());

    let server = Server::start("dev", dir.path());
    let groups = server.logs("DescribeLogGroups", "{}").json();
    assert_eq!(groups["logGroups"][0]["logGroupName"], "slow");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = directory();
    let mut server = Server::start("dev", dir.path());
    let mut call = server.connect();
    call.write_all(&head("POST", "/", &logs_headers("CreateLogGroup"), 100)).unwrap();
    until_it_has_a_call(&server);
    server.signal("-INT");
    let give_up = Instant::now() + PATIENCE;
    while TcpStream::connect(server.address).is_ok() {
        assert!(Instant::now() < give_up, "connections are still accepted");
    }
    let began = Instant::now();
    server.signal("-INT");
    assert_eq!(server.wait().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(5), "the drain would take 30 s");
}

#[test]
fn a_drain_ends_after_its_limit() {
    let dir = directory();
    let mut server = Server::start_with("dev", dir.path(), &["--drain-seconds", "1"]);
    let mut call = server.connect();
    call.write_all(&head("POST", "/", &logs_headers("CreateLogGroup"), 100)).unwrap();
    until_it_has_a_call(&server);
    let began = Instant::now();
    assert!(server.stop().success());
    assert!((1..15).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let dir = directory();
    for round in 0..5 {
        let mut server = Server::start("dev", dir.path());
        let groups = server.logs("DescribeLogGroups", "{}").json();
        assert_eq!(groups["logGroups"].as_array().unwrap().len(), round);
        let group = format!(r#"{{"logGroupName":"group-{round}"}}"#);
        assert_eq!(server.logs("CreateLogGroup", &group).status, 200);
        server.signal("-KILL");
        server.wait();
    }
}

#[test]
fn idle_and_silent_connections_do_not_hold_up_a_stop() {
    let dir = directory();
    let mut server = Server::start("dev", dir.path());
    let silent = server.connect();
    let mut idle = server.connect();
    idle.write_all(b"GET /_gatemill/health HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    let began = Instant::now();
    assert!(server.stop().success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop((silent, idle));
}
