//! Log groups: making, deleting, describing, and how long they keep their events.

use gatemill_api::logs::{
    CreateLogGroupRequest, DeleteLogGroupRequest, DeleteRetentionPolicyRequest,
    DescribeLogGroupsRequest, DescribeLogGroupsResponse, LogGroup, PutRetentionPolicyRequest,
};
use gatemill_store::{Key, Read};
use gatemill_wire::{Cx, pagination};

use crate::{
    Error, Logs, gaps,
    limits::{DESCRIBE_ENTRIES_MAX, DESCRIBE_FETCH_ENTRIES},
    names::{find_group, group_arn, group_of_arn},
    records::{GROUPS, GroupRecord, SIZES, TRASH, TrashRecord, group_key, id_key},
};

/// The one class that is built.
const STANDARD: &str = "STANDARD";

/// The days that a group may keep its events, as the API's documentation lists them.
const RETENTION_DAYS: [u16; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

pub(crate) async fn create(logs: &Logs, cx: &Cx, req: CreateLogGroupRequest) -> Result<(), Error> {
    if req.kms_key_id.is_some() {
        return Err(Error::NotBuilt(&gaps::GROUP_KEY));
    }
    if req.deletion_protection_enabled == Some(true) {
        return Err(Error::NotBuilt(&gaps::DELETION_PROTECTION));
    }
    if req.log_group_class.is_some_and(|class| class != STANDARD) {
        return Err(Error::NotBuilt(&gaps::GROUP_CLASS));
    }
    if req.log_group_name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws/")) {
        return Err(Error::invalid("Log groups starting with AWS/ are reserved for AWS."));
    }
    let key = group_key(cx.account(), &cx.region, &req.log_group_name);
    let tags = req.tags.unwrap_or_default();
    let group = GroupRecord { tags, ..GroupRecord::new(logs.id(), cx.now.millis()) };
    logs.store
        .write(move |tx| {
            if GROUPS.contains(tx, &key)? {
                return Err(Error::GroupExists);
            }
            GROUPS.put(tx, &key, &group)?;
            Ok(())
        })
        .await
}

/// The group is gone when this returns; what it held is swept later.
pub(crate) async fn delete(logs: &Logs, cx: &Cx, req: DeleteLogGroupRequest) -> Result<(), Error> {
    let key = group_key(cx.account(), &cx.region, &req.log_group_name);
    logs.store
        .write(move |tx| {
            let group = GROUPS.get(tx, &key)?.ok_or(Error::NoGroup)?;
            GROUPS.delete(tx, &key)?;
            SIZES.delete(tx, &id_key(group.id))?;
            TRASH.put(tx, &id_key(group.id), &TrashRecord {})?;
            Ok(())
        })
        .await
}

pub(crate) async fn put_retention(
    logs: &Logs,
    cx: &Cx,
    req: PutRetentionPolicyRequest,
) -> Result<(), Error> {
    let days = u16::try_from(req.retention_in_days)
        .ok()
        .filter(|days| RETENTION_DAYS.contains(days))
        .ok_or_else(|| {
            let allowed = RETENTION_DAYS.map(|days| days.to_string()).join(", ");
            Error::invalid(format!(
                "1 validation error detected: Value '{}' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: [{allowed}]",
                req.retention_in_days
            ))
        })?;
    change(logs, cx, &req.log_group_name, move |group| group.retention_days = Some(days)).await
}

pub(crate) async fn delete_retention(
    logs: &Logs,
    cx: &Cx,
    req: DeleteRetentionPolicyRequest,
) -> Result<(), Error> {
    change(logs, cx, &req.log_group_name, |group| group.retention_days = None).await
}

async fn change(
    logs: &Logs,
    cx: &Cx,
    name: &str,
    change: impl Fn(&mut GroupRecord) + Send + 'static,
) -> Result<(), Error> {
    let key = group_key(cx.account(), &cx.region, name);
    logs.store
        .write(move |tx| {
            let mut group = GROUPS.get(tx, &key)?.ok_or(Error::NoGroup)?;
            change(&mut group);
            GROUPS.put(tx, &key, &group)?;
            Ok(())
        })
        .await
}

pub(crate) async fn describe(
    logs: &Logs,
    cx: &Cx,
    req: DescribeLogGroupsRequest,
) -> Result<DescribeLogGroupsResponse, Error> {
    if req.account_identifiers.is_some_and(|accounts| !accounts.is_empty()) {
        return Err(Error::NotBuilt(&gaps::ACCOUNTS));
    }
    if req.include_linked_accounts == Some(true) {
        return Err(Error::NotBuilt(&gaps::LINKED_ACCOUNTS));
    }
    let prefix = req.log_group_name_prefix.filter(|prefix| !prefix.is_empty());
    let pattern = req.log_group_name_pattern.filter(|pattern| !pattern.is_empty());
    if prefix.is_some() && pattern.is_some() {
        return Err(Error::invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    if req.log_group_class.is_some_and(|class| class != STANDARD) {
        return Ok(DescribeLogGroupsResponse { log_groups: Some(Vec::new()), next_token: None });
    }
    if let Some(identifiers) = req.log_group_identifiers {
        if prefix.is_some() || pattern.is_some() {
            return Err(Error::invalid(
                "LogGroup identifiers and LogGroup name prefix or pattern are mutually exclusive parameters.",
            ));
        }
        return logs.store.read(|read| describe_named(cx, read, &identifiers));
    }
    let limit = usize::try_from(req.limit.unwrap_or(i32::MAX)).unwrap_or(usize::MAX);
    let list = List {
        prefix: prefix.unwrap_or_default(),
        pattern: pattern.unwrap_or_default(),
        after: req.next_token.map(|token| after(&token)).transpose()?,
        limit: limit.min(DESCRIBE_ENTRIES_MAX),
    };
    let cx = cx.clone();
    logs.search(move |read| list.run(&cx, read)).await
}

/// The name in a token of ours.
fn after(token: &str) -> Result<String, Error> {
    pagination::key(token)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Error::invalid("The specified nextToken is invalid."))
}

fn describe_named(
    cx: &Cx,
    read: &Read,
    identifiers: &[String],
) -> Result<DescribeLogGroupsResponse, Error> {
    let mut log_groups = Vec::new();
    for identifier in identifiers {
        let name = match identifier.strip_prefix("arn:") {
            Some(_) => group_of_arn(cx, identifier),
            None => Some(identifier.clone()),
        };
        let Some(name) = name else { continue };
        match find_group(cx, read, &name) {
            Ok(group) => log_groups.push(described(cx, read, name, &group)?),
            Err(Error::NoGroup) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(DescribeLogGroupsResponse { log_groups: Some(log_groups), next_token: None })
}

struct List {
    prefix: String,
    pattern: String,
    after: Option<String>,
    limit: usize,
}

impl List {
    fn run(&self, cx: &Cx, read: &Read) -> Result<DescribeLogGroupsResponse, Error> {
        let all = Key::new([cx.account(), &cx.region]);
        // Names that start with the prefix sort after it, and only itself sorts with it.
        let mut after = match &self.after {
            Some(name) => Some(all.clone().and(name)),
            None if self.prefix.is_empty() => None,
            None => Some(all.clone().and(&self.prefix)),
        };
        let mut found = Vec::new();
        if self.after.is_none() && !self.prefix.is_empty() {
            let exact = after.as_ref().map(|key| GROUPS.get(read, key)).transpose()?.flatten();
            found.extend(exact.map(|group| (self.prefix.clone(), group)));
        }
        while found.len() <= self.limit {
            let page = GROUPS.scan(read, &all, after.as_ref(), DESCRIBE_FETCH_ENTRIES)?;
            let last = page.len() < DESCRIBE_FETCH_ENTRIES;
            after = page.last().map(|(key, _)| key.clone());
            let named = page
                .into_iter()
                .filter_map(|(key, group)| key.text(2).map(|name| (name.into_owned(), group)));
            let mut passed = false;
            for (name, group) in named {
                passed = !name.starts_with(&self.prefix);
                if passed {
                    break;
                }
                if name.contains(&self.pattern) {
                    found.push((name, group));
                }
            }
            if passed || last {
                break;
            }
        }
        let (found, next_token) =
            pagination::page(found, self.limit, |(name, _)| name.as_bytes().to_vec());
        let log_groups = found
            .into_iter()
            .map(|(name, group)| described(cx, read, name, &group))
            .collect::<Result<_, _>>()?;
        Ok(DescribeLogGroupsResponse { log_groups: Some(log_groups), next_token })
    }
}

fn described(cx: &Cx, read: &Read, name: String, group: &GroupRecord) -> Result<LogGroup, Error> {
    let arn = group_arn(cx.account(), &cx.region, &name);
    let size = SIZES.get(read, &id_key(group.id))?.unwrap_or_default();
    Ok(LogGroup {
        log_group_name: Some(name),
        creation_time: Some(group.created_ms),
        retention_in_days: group.retention_days.map(i32::from),
        metric_filter_count: Some(0),
        arn: Some(format!("{arn}:*")),
        stored_bytes: Some(size.bytes.cast_signed()),
        log_group_class: Some(STANDARD.to_owned()),
        log_group_arn: Some(arn),
        ..LogGroup::default()
    })
}
