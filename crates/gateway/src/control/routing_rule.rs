//! The family of routing rules: which requests of a domain go to which stage, by headers and base paths.
//!
//! In AWS the targets are REST APIs alone. Here they are the HTTP APIs of the account (see
//! `docs/decisions/0014-domains.md`).

use gatemill_api::apigatewayv2::{
    CreateRoutingRuleRequest, CreateRoutingRuleResponse, DeleteRoutingRuleRequest,
    GetRoutingRuleRequest, GetRoutingRuleResponse, ListRoutingRulesRequest,
    ListRoutingRulesResponse, PutRoutingRuleRequest, PutRoutingRuleResponse, RoutingRule,
    RoutingRuleAction, RoutingRuleActionInvokeApi, RoutingRuleCondition, RoutingRuleMatchBasePaths,
    RoutingRuleMatchHeaderValue, RoutingRuleMatchHeaders,
};
use gatemill_store::Table;
use gatemill_wire::Cx;
use http::{HeaderName, header::HOST};

use crate::{
    Gateway,
    control::{
        domain::{self, DomainPlace},
        gaps,
        lead::{self, Lead, Stored},
        page::page,
        says, unbuilt,
    },
    error::{Error, Result},
    limits::{RULE_PRIORITY_MAX, RULES_PER_DOMAIN_MAX},
    mapping,
    record::{ROUTING_RULES, RoutingRuleRecord},
};

/// The members of a rule in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $record:expr, $cx:expr, $domain:expr) => {{
        let record: &RoutingRuleRecord = $record;
        $answer {
            actions: Some(vec![RoutingRuleAction {
                invoke_api: RoutingRuleActionInvokeApi {
                    api_id: record.api.clone(),
                    stage: record.stage.clone(),
                    strip_base_path: Some(record.strip),
                },
            }]),
            conditions: Some(conditions(record)),
            priority: Some(record.priority),
            routing_rule_arn: Some(format!(
                "arn:aws:apigateway:{}:{}:/domainnames/{}/routingrules/{}",
                $cx.region,
                $cx.account(),
                $domain.to_ascii_lowercase(),
                record.id
            )),
            routing_rule_id: Some(record.id.clone()),
        }
    }};
}

/// `CreateRoutingRule`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateRoutingRuleRequest,
) -> Result<CreateRoutingRuleResponse> {
    unbuilt(&gaps::DOMAIN_NAME_ID, says(req.domain_name_id.as_deref()))?;
    let rule = accept(cx.id(6), req.priority, &req.conditions, &req.actions)?;
    let answer = members!(CreateRoutingRuleResponse, &rule, cx, req.domain_name);
    lead::store(gateway, cx, req.domain_name, rule, Stored::New).await?;
    Ok(answer)
}

/// `GetRoutingRule`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetRoutingRuleRequest,
) -> Result<GetRoutingRuleResponse> {
    unbuilt(&gaps::DOMAIN_NAME_ID, says(req.domain_name_id.as_deref()))?;
    let place = DomainPlace::new(cx);
    let rule: RoutingRuleRecord =
        gateway.store.read(|tx| lead::find(tx, &place, &req.domain_name, &req.routing_rule_id))?;
    Ok(members!(GetRoutingRuleResponse, &rule, cx, req.domain_name))
}

/// `ListRoutingRules`.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: ListRoutingRulesRequest,
) -> Result<ListRoutingRulesResponse> {
    unbuilt(&gaps::DOMAIN_NAME_ID, says(req.domain_name_id.as_deref()))?;
    let place = DomainPlace::new(cx);
    let max_results = req.max_results.map(|number| number.to_string());
    let (rules, next_token) = gateway.store.read(|tx| {
        let domain = domain::find(tx, &place, &req.domain_name)?;
        let below = place.of(&domain.name);
        page(&ROUTING_RULES, tx, &below, max_results.as_deref(), req.next_token.as_deref())
    })?;
    let rules = rules.iter().map(|rule| members!(RoutingRule, rule, cx, req.domain_name));
    Ok(ListRoutingRulesResponse { next_token, routing_rules: Some(rules.collect()) })
}

/// `PutRoutingRule`: another rule in the place of one.
pub(crate) async fn put(
    gateway: &Gateway,
    cx: &Cx,
    req: PutRoutingRuleRequest,
) -> Result<PutRoutingRuleResponse> {
    unbuilt(&gaps::DOMAIN_NAME_ID, says(req.domain_name_id.as_deref()))?;
    let rule = accept(req.routing_rule_id, req.priority, &req.conditions, &req.actions)?;
    let answer = members!(PutRoutingRuleResponse, &rule, cx, req.domain_name);
    lead::store(gateway, cx, req.domain_name, rule, Stored::Anew).await?;
    Ok(answer)
}

/// `DeleteRoutingRule`.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: &Cx,
    req: DeleteRoutingRuleRequest,
) -> Result<()> {
    unbuilt(&gaps::DOMAIN_NAME_ID, says(req.domain_name_id.as_deref()))?;
    lead::remove::<RoutingRuleRecord>(gateway, cx, req.domain_name, req.routing_rule_id).await
}

fn conditions(rule: &RoutingRuleRecord) -> Vec<RoutingRuleCondition> {
    let mut conditions = Vec::new();
    if !rule.base_paths.is_empty() {
        let any_of = rule.base_paths.clone();
        conditions.push(RoutingRuleCondition {
            match_base_paths: Some(RoutingRuleMatchBasePaths { any_of }),
            match_headers: None,
        });
    }
    for any_of in &rule.headers {
        let value = |(header, glob): &(String, String)| RoutingRuleMatchHeaderValue {
            header: header.clone(),
            value_glob: glob.clone(),
        };
        let any_of = any_of.iter().map(value).collect();
        conditions.push(RoutingRuleCondition {
            match_base_paths: None,
            match_headers: Some(RoutingRuleMatchHeaders { any_of }),
        });
    }
    conditions
}

/// Checks a rule: at most two header conditions and one of base paths, and one action.
fn accept(
    id: String,
    priority: i32,
    conditions: &[RoutingRuleCondition],
    actions: &[RoutingRuleAction],
) -> Result<RoutingRuleRecord> {
    let invalid = |text: &str| Err(Error::invalid(text));
    if !(1..=RULE_PRIORITY_MAX).contains(&priority) {
        return invalid("Priority must be between 1 and 1000000");
    }
    let [action] = actions else { return invalid("Exactly one action must be specified") };
    let (mut base_paths, mut headers) = (Vec::new(), Vec::new());
    for condition in conditions {
        match (&condition.match_base_paths, &condition.match_headers) {
            (Some(paths), None) if base_paths.is_empty() && !paths.any_of.is_empty() => {
                base_paths.clone_from(&paths.any_of);
            }
            (None, Some(values)) if headers.len() < 2 && !values.any_of.is_empty() => {
                let pair = |value: &RoutingRuleMatchHeaderValue| {
                    (value.header.clone(), value.value_glob.clone())
                };
                headers.push(values.any_of.iter().map(pair).collect::<Vec<_>>());
            }
            _ => {
                return invalid(
                    "A rule has at most one matchBasePaths and two matchHeaders conditions, each with values",
                );
            }
        }
    }
    for path in &base_paths {
        if path.is_empty() || path.len() >= 128 || path.starts_with('/') || path.ends_with('/') {
            return invalid("Invalid base path specified");
        }
    }
    for (name, glob) in headers.iter().flatten() {
        let stars = glob.trim_start_matches('*').trim_end_matches('*');
        if name.len() >= 40 || !is_matched(name) {
            return invalid("Invalid header specified");
        }
        // With stars on both sides it is looked for everywhere in the value.
        let anywhere = glob.len() > 1 && glob.starts_with('*') && glob.ends_with('*');
        let most = if anywhere { 40 } else { 128 };
        if glob.is_empty() || glob.len() >= most || stars.contains(['*', '?']) {
            return invalid("Invalid header value glob specified");
        }
    }
    let invoke = &action.invoke_api;
    Ok(RoutingRuleRecord {
        id,
        priority,
        base_paths,
        headers,
        api: invoke.api_id.clone(),
        stage: invoke.stage.clone(),
        strip: invoke.strip_base_path.unwrap_or(false),
    })
}

/// Whether rules may look at a header: those that no mapping changes are not for them either, but for `Host`.
fn is_matched(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| {
        let own = ["x-apigw-api-id", "x-restapi"].contains(&name.as_str());
        !own && (name == HOST || !mapping::is_restricted(&name))
    })
}

impl Lead for RoutingRuleRecord {
    const TABLE: Table<Self> = ROUTING_RULES;
    const LIMIT: (usize, &'static str) = (RULES_PER_DOMAIN_MAX, "Routing Rules");

    fn id(&self) -> &str {
        &self.id
    }

    fn api(&self) -> &str {
        &self.api
    }

    fn stage(&self) -> &str {
        &self.stage
    }

    fn none() -> Error {
        Error::NoSuchRule
    }

    fn clash(&self, other: &Self) -> Option<Error> {
        (self.priority == other.priority).then_some(Error::RulePriorityTaken)
    }

    /// In AWS they lead to REST APIs alone, and nowhere to these.
    fn check_kind(is_websocket: bool, _others: &mut dyn Iterator<Item = bool>) -> Result<()> {
        if is_websocket {
            return Err(Error::invalid("Routing rules are not supported for WebSocket APIs."));
        }
        Ok(())
    }
}
