//! The family of domain names.
//!
//! A domain leads to APIs by its mappings and routing rules; a request belongs to it by its host. Its certificate is one of
//! the server's, found by the domain's name; an ARN whose last part is the name of one of them chooses that one, and every
//! other is kept because tools compare it (see `docs/decisions/0014-domains.md`). With `mutualTlsAuthentication` only
//! clients whom its trust store knows are served.

use gatemill_api::apigatewayv2::{
    CreateDomainNameRequest, CreateDomainNameResponse, DeleteDomainNameRequest, DomainName,
    DomainNameConfiguration, GetDomainNameRequest, GetDomainNameResponse, GetDomainNamesRequest,
    GetDomainNamesResponse, UpdateDomainNameRequest, UpdateDomainNameResponse,
};
use gatemill_store::{Key, Reader, Write};
use gatemill_wire::Cx;

use crate::{
    Gateway,
    control::{
        gaps,
        page::page,
        says, tag,
        truststore::{self, Asked},
        unbuilt,
    },
    error::{Error, Result},
    limits::DOMAINS_MAX,
    record::{
        API_MAPPINGS, DOMAIN_OWNERS, DOMAINS, DomainRecord, OwnerRecord, ROUTING_RULES,
        RoutingMode, TRUST_STORES,
    },
};

/// The members of a domain in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $gateway:expr, $record:expr, $region:expr) => {{
        let (record, region): (&DomainRecord, &str) = ($record, $region);
        $answer {
            api_mapping_selection_expression: Some("$request.basepath".to_owned()),
            domain_name: record.name.clone().into(),
            domain_name_arn: Some(format!(
                "arn:aws:apigateway:{region}::/domainnames/{}",
                record.name
            )),
            domain_name_configurations: Some(vec![DomainNameConfiguration {
                api_gateway_domain_name: Some(record.name.clone()),
                certificate_arn: record.certificate.clone(),
                domain_name_status: Some("AVAILABLE".to_owned()),
                domain_name_status_message: status_message($gateway, record),
                endpoint_type: Some("REGIONAL".to_owned()),
                ip_address_type: Some("ipv4".to_owned()),
                security_policy: Some("TLS_1_2".to_owned()),
                ..DomainNameConfiguration::default()
            }]),
            mutual_tls_authentication: record.mutual_tls.as_ref().map(truststore::shown),
            routing_mode: Some(mode_text(record.mode).to_owned()),
            tags: Some(record.tags.clone()),
        }
    }};
}

/// `CreateDomainName`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateDomainNameRequest,
) -> Result<CreateDomainNameResponse> {
    let name = req.domain_name.to_ascii_lowercase();
    check_name(&name)?;
    let certificate = certificate(req.domain_name_configurations.as_deref(), None)?;
    check_certificate(gateway, certificate.as_deref(), &name)?;
    let asked = truststore::asked(gateway, cx, req.mutual_tls_authentication, None).await?;
    let (mutual_tls, store) = match asked {
        Asked::AsBefore | Asked::Without => (None, None),
        Asked::With(record, store) => (Some(record), Some(store)),
    };
    let domain = DomainRecord {
        name,
        certificate,
        mode: mode(req.routing_mode.as_deref(), RoutingMode::default())?,
        tags: tag::accept(req.tags.unwrap_or_default())?,
        created: cx.now,
        mutual_tls,
    };
    let answer = members!(CreateDomainNameResponse, gateway, &domain, &cx.region);
    let place = DomainPlace::new(cx);
    gateway
        .change_domains(move |tx| {
            let owner = Key::new([&domain.name]);
            if DOMAIN_OWNERS.contains(tx, &owner)? {
                return Err(Error::DomainExists);
            }
            if DOMAIN_OWNERS.count(tx, &Key::empty())? >= DOMAINS_MAX {
                return Err(Error::TooMany("Domain Names"));
            }
            DOMAIN_OWNERS.put(tx, &owner, &place.owner())?;
            if let Some(store) = &store {
                TRUST_STORES.put(tx, &place.of(&domain.name), store)?;
            }
            Ok(DOMAINS.put(tx, &place.of(&domain.name), &domain)?)
        })
        .await?;
    Ok(answer)
}

/// `GetDomainName`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetDomainNameRequest,
) -> Result<GetDomainNameResponse> {
    let domain = gateway.store.read(|tx| find(tx, &DomainPlace::new(cx), &req.domain_name))?;
    Ok(members!(GetDomainNameResponse, gateway, &domain, &cx.region))
}

/// `GetDomainNames`.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetDomainNamesRequest,
) -> Result<GetDomainNamesResponse> {
    let place = DomainPlace::new(cx);
    let (domains, next_token) = gateway.store.read(|tx| {
        page(&DOMAINS, tx, &place.key(), req.max_results.as_deref(), req.next_token.as_deref())
    })?;
    let shown = |domain| members!(DomainName, gateway, domain, &cx.region);
    let items = domains.iter().map(shown).collect();
    Ok(GetDomainNamesResponse { items: Some(items), next_token })
}

/// `UpdateDomainName`.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateDomainNameRequest,
) -> Result<UpdateDomainNameResponse> {
    let place = DomainPlace::new(cx);
    let before = gateway.store.read(|tx| find(tx, &place, &req.domain_name))?;
    let given = req.domain_name_configurations.as_deref();
    let named = certificate(given, before.certificate.clone())?;
    check_certificate(gateway, named.as_deref().filter(|_| given.is_some()), &before.name)?;
    let given = req.mutual_tls_authentication;
    let asked = truststore::asked(gateway, cx, given, before.mutual_tls.as_ref()).await?;
    let domain = gateway
        .change_domains(move |tx| {
            let mut domain = find(tx, &place, &req.domain_name)?;
            let given = req.domain_name_configurations.as_deref();
            domain.certificate = certificate(given, domain.certificate.take())?;
            domain.mode = mode(req.routing_mode.as_deref(), domain.mode)?;
            let key = place.of(&domain.name);
            match &asked {
                Asked::AsBefore => {}
                Asked::Without => {
                    domain.mutual_tls = None;
                    TRUST_STORES.delete(tx, &key)?;
                }
                Asked::With(record, store) => {
                    domain.mutual_tls = Some(record.clone());
                    TRUST_STORES.put(tx, &key, store)?;
                }
            }
            DOMAINS.put(tx, &key, &domain)?;
            Ok(domain)
        })
        .await?;
    Ok(members!(UpdateDomainNameResponse, gateway, &domain, &cx.region))
}

/// `DeleteDomainName`, with its mappings and rules.
pub(crate) async fn delete(gateway: &Gateway, cx: &Cx, req: DeleteDomainNameRequest) -> Result<()> {
    let place = DomainPlace::new(cx);
    gateway
        .change_domains(move |tx| {
            let domain = find(tx, &place, &req.domain_name)?;
            let key = place.of(&domain.name);
            DOMAINS.delete(tx, &key)?;
            TRUST_STORES.delete(tx, &key)?;
            DOMAIN_OWNERS.delete(tx, &Key::new([&domain.name]))?;
            for (mapping, _) in API_MAPPINGS.scan(tx, &key, None, usize::MAX)? {
                API_MAPPINGS.delete(tx, &mapping)?;
            }
            for (rule, _) in ROUTING_RULES.scan(tx, &key, None, usize::MAX)? {
                ROUTING_RULES.delete(tx, &rule)?;
            }
            Ok(())
        })
        .await
}

impl Gateway {
    /// Changes domains in one transaction, and tells the proxy path once that is durable.
    pub(super) async fn change_domains<T: Send + 'static>(
        &self,
        change: impl Fn(&mut Write) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let domains = std::sync::Arc::clone(&self.domains);
        self.store
            .write(move |tx| {
                let value = change(tx)?;
                let domains = std::sync::Arc::clone(&domains);
                tx.on_commit(move || domains.changed());
                Ok(value)
            })
            .await
    }
}

/// Whose domains they are.
#[derive(Debug, Clone)]
pub(super) struct DomainPlace {
    account: String,
    region: String,
}

impl DomainPlace {
    pub(super) fn new(cx: &Cx) -> Self {
        Self { account: cx.account().to_owned(), region: cx.region.clone() }
    }

    pub(super) fn key(&self) -> Key {
        Key::new([&self.account, &self.region])
    }

    /// The key of a domain, and the prefix of what belongs to it.
    pub(super) fn of(&self, name: &str) -> Key {
        self.key().and(name)
    }

    fn owner(&self) -> OwnerRecord {
        OwnerRecord { account: self.account.clone(), region: self.region.clone() }
    }
}

/// The domain of this name, which has to be there.
pub(super) fn find(from: &impl Reader, place: &DomainPlace, name: &str) -> Result<DomainRecord> {
    let name = name.to_ascii_lowercase();
    DOMAINS.get(from, &place.of(&name))?.ok_or(Error::NoSuchDomain)
}

/// Names that could be those of hosts; the names of APIs themselves are not for domains.
fn check_name(name: &str) -> Result<()> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let mut labels = name.split('.');
    let first = labels.next().unwrap_or_default();
    let fits = name.len() <= 253 && name.contains('.') && (first == "*" || label(first));
    let reserved = name.contains(".execute-api.")
        || name.contains(".lambda-url.")
        || name.ends_with(".localhost") && first == "*";
    if fits && !reserved && labels.all(label) {
        return Ok(());
    }
    Err(Error::invalid("Invalid domain name identifier specified"))
}

/// The certificate of the one configuration that a domain has.
fn certificate(
    given: Option<&[DomainNameConfiguration]>,
    before: Option<String>,
) -> Result<Option<String>> {
    let Some(given) = given else { return Ok(before) };
    let [configuration] = given else {
        return Err(Error::invalid("Invalid input. Expected one domain name configuration"));
    };
    let is =
        |value: &Option<String>, only: &str| value.as_deref().is_none_or(|value| value == only);
    unbuilt(&gaps::DOMAIN_ENDPOINT_TYPE, !is(&configuration.endpoint_type, "REGIONAL"))?;
    unbuilt(&gaps::DOMAIN_ADDRESSES, !is(&configuration.ip_address_type, "ipv4"))?;
    unbuilt(&gaps::DOMAIN_SECURITY_POLICY, !is(&configuration.security_policy, "TLS_1_2"))?;
    unbuilt(
        &gaps::DOMAIN_OWNERSHIP,
        says(configuration.ownership_verification_certificate_arn.as_deref()),
    )?;
    let arn = configuration.certificate_arn.clone().filter(|arn| !arn.is_empty());
    if arn.as_ref().is_some_and(|arn| !arn.starts_with("arn:aws:acm:")) {
        return Err(Error::invalid("Invalid certificate ARN"));
    }
    Ok(arn.or(before))
}

/// Refuses a certificate of ours that is for other names.
fn check_certificate(gateway: &Gateway, arn: Option<&str>, domain: &str) -> Result<()> {
    let named = gateway.certificates.get().zip(arn).and_then(|(ours, arn)| ours.named(arn, domain));
    match named {
        Some(false) => Err(Error::invalid(
            "The domain name to be created is not covered by the provided certificate.",
        )),
        Some(true) | None => Ok(()),
    }
}

/// What the owner has to know: that clients of the domain will not accept what this server can show them.
fn status_message(gateway: &Gateway, domain: &DomainRecord) -> Option<String> {
    let ours = gateway.certificates.get()?;
    let missing = !ours.covers(&domain.name);
    missing.then(|| format!("No certificate of this server covers {}.", domain.name))
}

fn mode(text: Option<&str>, before: RoutingMode) -> Result<RoutingMode> {
    match text {
        None => Ok(before),
        Some("API_MAPPING_ONLY") => Ok(RoutingMode::Mappings),
        Some("ROUTING_RULE_ONLY") => Ok(RoutingMode::Rules),
        Some("ROUTING_RULE_THEN_API_MAPPING") => Ok(RoutingMode::RulesThenMappings),
        Some(_) => Err(Error::invalid("Invalid routing mode specified")),
    }
}

fn mode_text(mode: RoutingMode) -> &'static str {
    match mode {
        RoutingMode::Mappings => "API_MAPPING_ONLY",
        RoutingMode::Rules => "ROUTING_RULE_ONLY",
        RoutingMode::RulesThenMappings => "ROUTING_RULE_THEN_API_MAPPING",
    }
}
