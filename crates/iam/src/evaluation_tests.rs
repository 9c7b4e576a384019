//! The decision over whole documents, and its laws.

use proptest::prelude::*;

use super::*;
use crate::BadDocument;

const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";
const API: &str = "arn:aws:execute-api:us-east-1:000000000000:a1/$default/GET/x";

fn statement(effect: &str, principal: &str, condition: &str) -> String {
    format!(
        r#"{{"Sid":"s","Effect":"{effect}","Principal":{principal},"Action":"lambda:InvokeFunction","Resource":"{FUNCTION}","Condition":{condition}}}"#
    )
}

fn document(statements: &[String]) -> Document {
    let text = format!(
        r#"{{"Version":"2012-10-17","Id":"default","Statement":[{}]}}"#,
        statements.join(",")
    );
    Document::parse(&text).unwrap()
}

fn decide(statements: &[String], principal: Principal<'_>) -> Decision {
    let context =
        Context::default().with("AWS:SourceArn", API).with("aws:SourceAccount", "000000000000");
    let request = Request {
        principal,
        action: "lambda:InvokeFunction",
        resource: FUNCTION,
        context: &context,
    };
    evaluate([&document(statements)], &request)
}

#[test]
fn principals() {
    let service = Principal::Service("apigateway.amazonaws.com");
    let root = Principal::Aws { account: "111111111111", arn: "arn:aws:iam::111111111111:root" };
    let user = Principal::Aws { account: "111111111111", arn: "arn:aws:iam::111111111111:user/u" };
    for (json, principal, expected) in [
        (r#"{"Service":"apigateway.amazonaws.com"}"#, service, true),
        (r#"{"Service":["s3.amazonaws.com","apigateway.amazonaws.com"]}"#, service, true),
        (r#"{"Service":"s3.amazonaws.com"}"#, service, false),
        (r#""*""#, service, true),
        (r#""*""#, Principal::Anonymous, true),
        (r#"{"AWS":"*"}"#, Principal::Anonymous, true),
        (r#"{"AWS":"*"}"#, service, false),
        (r#"{"AWS":"arn:aws:iam::111111111111:root"}"#, user, true),
        (r#"{"AWS":"111111111111"}"#, root, true),
        (r#"{"AWS":"arn:aws:iam::111111111111:user/u"}"#, user, true),
        (r#"{"AWS":"arn:aws:iam::111111111111:user/u"}"#, root, false),
        (r#"{"AWS":"arn:aws:iam::222222222222:root"}"#, user, false),
    ] {
        let decision = decide(&[statement("Allow", json, "{}")], principal);
        assert_eq!(decision.is_allow(), expected, "{json} {principal:?}");
    }
}

#[test]
fn conditions_narrow_and_unknown_ones_fail_closed() {
    let service = Principal::Service("apigateway.amazonaws.com");
    for (condition, allow, deny) in [
        (
            r#"{"ArnLike":{"AWS:SourceArn":"arn:aws:execute-api:us-east-1:000000000000:a1/*"}}"#,
            true,
            true,
        ),
        (
            r#"{"ArnLike":{"AWS:SourceArn":"arn:aws:execute-api:us-east-1:000000000000:b2/*"}}"#,
            false,
            false,
        ),
        (r#"{"StringEquals":{"AWS:SourceAccount":"000000000000"}}"#, true, true),
        (r#"{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}"#, false, false),
        (r#"{"Unheard":{"aws:SourceArn":"x"}}"#, false, true),
    ] {
        let allowed = decide(&[statement("Allow", r#""*""#, condition)], service);
        assert_eq!(allowed.is_allow(), allow, "{condition}");
        let denied = decide(&[statement("Deny", r#""*""#, condition)], service);
        assert_eq!(denied == Decision::ExplicitDeny, deny, "{condition}");
    }
}

#[test]
fn actions_and_resources_have_wildcards() {
    let context = Context::default();
    for (action, resource, expected) in [
        ("lambda:InvokeFunction", FUNCTION, true),
        ("lambda:Invoke*", "*", true),
        ("LAMBDA:invokefunction", FUNCTION, true),
        ("lambda:GetFunction", FUNCTION, false),
        ("*", "arn:aws:lambda:us-east-1:000000000000:function:*", true),
        ("*", "arn:aws:lambda:us-east-1:000000000000:function:g", false),
    ] {
        let text = format!(
            r#"{{"Statement":{{"Effect":"Allow","Principal":"*","Action":"{action}","Resource":["{resource}"]}}}}"#
        );
        let document = Document::parse(&text).unwrap();
        let request = Request {
            principal: Principal::Anonymous,
            action: "lambda:InvokeFunction",
            resource: FUNCTION,
            context: &context,
        };
        assert_eq!(evaluate([&document], &request).is_allow(), expected, "{action} {resource}");
    }
}

#[test]
fn malformed_documents_are_refused() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"Statement":[{"Effect":"Maybe"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"x"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Action":{}}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Surprise":1}]}"#,
    ] {
        assert!(Document::parse(text).is_err(), "{text}");
    }
    assert!(matches!(Document::parse(&" ".repeat(30_000)), Err(BadDocument::TooLong)));
}

fn any_statement() -> impl Strategy<Value = String> {
    let effect = prop_oneof!["Allow", "Deny"];
    let principal = prop_oneof![
        Just(r#""*""#.to_owned()),
        Just(r#"{"Service":"apigateway.amazonaws.com"}"#.to_owned()),
        Just(r#"{"Service":"s3.amazonaws.com"}"#.to_owned()),
        Just(r#"{"AWS":"000000000000"}"#.to_owned()),
    ];
    let condition = prop_oneof![
        Just("{}".to_owned()),
        Just(r#"{"StringEquals":{"aws:SourceAccount":"000000000000"}}"#.to_owned()),
        Just(r#"{"StringEquals":{"aws:SourceAccount":"111111111111"}}"#.to_owned()),
    ];
    (effect, principal, condition).prop_map(|(e, p, c)| statement(&e, &p, &c))
}

proptest! {
    #[test]
    fn order_does_not_matter_and_deny_wins(statements in prop::collection::vec(any_statement(), 0..6)) {
        let service = Principal::Service("apigateway.amazonaws.com");
        let decision = decide(&statements, service);
        let mut reversed = statements.clone();
        reversed.reverse();
        prop_assert_eq!(decide(&reversed, service), decision);
        let alone = statements.iter().map(|one| decide(std::slice::from_ref(one), service));
        let alone: Vec<_> = alone.collect();
        let expected = if alone.contains(&Decision::ExplicitDeny) {
            Decision::ExplicitDeny
        } else if alone.contains(&Decision::Allow) {
            Decision::Allow
        } else {
            Decision::ImplicitDeny
        };
        prop_assert_eq!(decision, expected);
    }

    #[test]
    fn reading_never_panics(text in ".{0,200}") {
        let _ = Document::parse(&text);
    }
}
