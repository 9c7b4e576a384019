//! `gatemill serve`: credentials are shown once, and every signature is verified.

use crate::world::{Server, directory};

#[test]
fn root_credentials_are_shown_at_the_first_start_alone() {
    let dir = directory();
    let mut first = Server::start("serve", dir.path());
    assert!(first.stop().success());
    let said = first.rest_of_stdout();
    assert!(said.contains("aws configure set aws_access_key_id AKIA"), "{said}");
    assert!(said.contains("aws configure set aws_secret_access_key "), "{said}");

    let mut second = Server::start("serve", dir.path());
    assert!(second.stop().success());
    assert_eq!(second.rest_of_stdout(), "");
}

#[test]
fn a_key_that_nobody_has_is_refused() {
    let dir = directory();
    let server = Server::start("serve", dir.path());
    let answer = server.logs("DescribeLogGroups", "{}");
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("UnrecognizedClientException"), "{answer:?}");
}
