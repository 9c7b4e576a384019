//! The patch paths of usage plans.
//!
//! A quota may be put together by several operations, so that it is looked at as a whole in the end.

use std::collections::BTreeMap;

use gatemill_api::apigateway::ThrottleSettings;

use super::{
    patch::{Op, Patch, unescaped},
    usage_plan,
};
use crate::{
    control::gaps,
    error::{Error, Result},
    usage_plans::record::{Period, PlanRecord, PlanStage, Quota, Throttle},
};

/// What `remove` takes, in the words of AWS. *Seen.*
const REMOVABLE: &str = "[/apiStages, /quota, /throttle, /productCode, \
     /apiStages/<apidId:stageName>/throttle/<resourcePath>/<httpMethod>, /apiStages/<apidId:stageName>/throttle]";
const REPLACEABLE: &str = "[/name, /description, /quota/limit, /quota/offset, /quota/period, /throttle/rateLimit, \
     /throttle/burstLimit, /productCode, /apiStages/<apidId:stageName>/throttle, \
     /apiStages/<apidId:stageName>/throttle/<resourcePath>/<httpMethod>/rateLimit, \
     /apiStages/<apidId:stageName>/throttle/<resourcePath>/<httpMethod>/burstLimit]";
const ADDABLE: &str = "[/apiStages, /quota/limit, /quota/offset, /quota/period, /throttle/rateLimit, \
     /throttle/burstLimit, /productCode, /apiStages/<apidId:stageName>/throttle, \
     /apiStages/<apidId:stageName>/throttle/<resourcePath>/<httpMethod>/rateLimit, \
     /apiStages/<apidId:stageName>/throttle/<resourcePath>/<httpMethod>/burstLimit]";

/// A plan that is being patched.
#[derive(Debug)]
pub(super) struct Draft {
    plan: PlanRecord,
    quota: Option<QuotaDraft>,
}

#[derive(Debug, Default)]
struct QuotaDraft {
    limit: Option<i32>,
    offset: i32,
    period: Option<Period>,
}

impl Draft {
    pub(super) fn of(plan: PlanRecord) -> Self {
        let quota = plan.quota.map(|quota| QuotaDraft {
            limit: Some(quota.limit),
            offset: quota.offset,
            period: Some(quota.period),
        });
        Self { plan, quota }
    }

    /// The plan that came of it.
    pub(super) fn finish(self) -> Result<PlanRecord> {
        let quota = self.quota.map(|QuotaDraft { limit, offset, period }| {
            let limit = limit.ok_or_else(usage_plan::no_limit)?;
            let period = period.map_or_else(|| usage_plan::period(None), Ok)?;
            Ok::<_, Error>(Quota { limit, offset, period })
        });
        Ok(PlanRecord { quota: quota.transpose()?, ..self.plan })
    }

    pub(super) fn apply(&mut self, patch: &Patch) -> Result<()> {
        let plan = &mut self.plan;
        match (patch.path.as_str(), patch.op) {
            ("/name", Op::Replace) => patch.text().clone_into(&mut plan.name),
            ("/description", Op::Replace) => plan.description = patch.optional(),
            ("/productCode", _) => return Err(Error::NotBuilt(&gaps::PRODUCT_CODE)),
            ("/throttle", Op::Remove) => plan.throttle = None,
            ("/throttle/rateLimit" | "/throttle/burstLimit", Op::Add | Op::Replace) => {
                set_limit(plan.throttle.get_or_insert_default(), patch)?;
            }
            ("/quota", Op::Remove) => self.quota = None,
            ("/quota/limit", Op::Add | Op::Replace) => self.quota().limit = Some(patch.number()?),
            ("/quota/offset", Op::Add | Op::Replace) => self.quota().offset = patch.number()?,
            ("/quota/period", Op::Add | Op::Replace) => {
                self.quota().period = Some(usage_plan::period(Some(patch.text()))?);
            }
            ("/apiStages", Op::Add) => {
                let (api, stage) = named(patch.text())?;
                plan.stages.push(PlanStage { api, stage, routes: BTreeMap::new() });
            }
            ("/apiStages", Op::Remove) => {
                let nth = self.stage(patch.text())?;
                self.plan.stages.remove(nth);
            }
            (path, _) => match path.strip_prefix("/apiStages/") {
                Some(rest) => self.apply_routes(rest, patch)?,
                None => return Err(unknown(patch)),
            },
        }
        Ok(())
    }

    fn quota(&mut self) -> &mut QuotaDraft {
        self.quota.get_or_insert_default()
    }

    /// Limits of routes: `{api:stage}/throttle`, and below it the route's key and which limit.
    fn apply_routes(&mut self, rest: &str, patch: &Patch) -> Result<()> {
        let (stage, rest) = rest.split_once('/').ok_or_else(|| unknown(patch))?;
        let rest = rest.strip_prefix("throttle").ok_or_else(|| unknown(patch))?;
        let nth = self.stage(&unescaped(stage))?;
        let routes = &mut self.plan.stages[nth].routes;
        let Some(rest) = rest.strip_prefix('/') else {
            match (rest, patch.op) {
                ("", Op::Remove) => routes.clear(),
                ("", Op::Add | Op::Replace) => *routes = all_limits(patch)?,
                (_, _) => return Err(unknown(patch)),
            }
            return Ok(());
        };
        let limit = rest.rsplit_once('/').filter(|(_, limit)| is_limit(limit));
        match (limit, patch.op) {
            (Some((key, _)), Op::Add | Op::Replace) => {
                set_limit(routes.entry(unescaped(key)).or_default(), patch)?;
            }
            (None, Op::Remove) => {
                if routes.remove(&unescaped(rest)).is_none() {
                    return Err(Error::NoSuchParameter);
                }
            }
            (_, _) => return Err(unknown(patch)),
        }
        Ok(())
    }

    /// Which of the plan's stages `api:stage` names.
    fn stage(&self, text: &str) -> Result<usize> {
        let (api, stage) = named(text)?;
        let mut stages = self.plan.stages.iter();
        stages.position(|it| it.is(&api, &stage)).ok_or_else(|| Error::NoSuchPlanStage {
            api,
            stage,
            plan: self.plan.id.clone(),
        })
    }
}

fn is_limit(text: &str) -> bool {
    matches!(text, "rateLimit" | "burstLimit")
}

fn set_limit(throttle: &mut Throttle, patch: &Patch) -> Result<()> {
    if patch.path.ends_with("/rateLimit") {
        throttle.rate = Some(patch.number()?);
    } else {
        throttle.burst = Some(patch.number()?);
    }
    Ok(())
}

/// The limits of all routes at once, as JSON.
fn all_limits(patch: &Patch) -> Result<BTreeMap<String, Throttle>> {
    let given: BTreeMap<String, ThrottleSettings> =
        serde_json::from_str(patch.text()).map_err(|_| {
            Error::invalid(format!("Invalid value specified for patch path {}", patch.path))
        })?;
    let limits = given.into_iter();
    limits
        .map(|(key, limits)| Ok::<_, Error>((key, usage_plan::accept_throttle(&limits)?)))
        .collect()
}

fn named(text: &str) -> Result<(String, String)> {
    let named = text.split_once(':').filter(|(api, stage)| !api.is_empty() && !stage.is_empty());
    let (api, stage) = named.ok_or_else(|| Error::invalid("Invalid API Stage specified"))?;
    Ok((api.to_owned(), stage.to_owned()))
}

fn unknown(patch: &Patch) -> Error {
    let (path, op) = (&patch.path, patch.op.text());
    let known = match patch.op {
        Op::Add => ADDABLE,
        Op::Replace => REPLACEABLE,
        Op::Remove => REMOVABLE,
    };
    Error::invalid(format!(
        "Invalid patch path  '{path}' specified for op '{op}'. Must be one of: {known}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> PlanRecord {
        PlanRecord {
            id: "p".to_owned(),
            name: "n".to_owned(),
            description: None,
            stages: Vec::new(),
            throttle: None,
            quota: None,
            tags: BTreeMap::new(),
        }
    }

    fn patched(plan: PlanRecord, patches: &[(Op, &str, &str)]) -> Result<PlanRecord> {
        let mut draft = Draft::of(plan);
        for (op, path, value) in patches {
            let value = Some((*value).to_owned());
            draft.apply(&Patch { op: *op, path: (*path).to_owned(), value })?;
        }
        draft.finish()
    }

    #[test]
    fn every_path_changes_what_it_names() {
        let made = patched(
            plan(),
            &[
                (Op::Replace, "/name", "m"),
                (Op::Replace, "/description", "d"),
                (Op::Add, "/throttle/rateLimit", "2.5"),
                (Op::Replace, "/throttle/burstLimit", "3"),
                (Op::Add, "/quota/period", "WEEK"),
                (Op::Add, "/quota/limit", "10"),
                (Op::Replace, "/quota/offset", "2"),
                (Op::Add, "/apiStages", "a:s"),
                (Op::Add, "/apiStages/a:s/throttle/$default/rateLimit", "1"),
                (Op::Add, "/apiStages/a:s/throttle/~1pets/GET/burstLimit", "4"),
                (Op::Replace, "/apiStages/a:s/throttle//pets/GET/rateLimit", "5"),
            ],
        );
        let made = made.unwrap();
        let expected = PlanRecord {
            name: "m".to_owned(),
            description: Some("d".to_owned()),
            throttle: Some(Throttle { burst: Some(3), rate: Some(2.5) }),
            quota: Some(Quota { limit: 10, offset: 2, period: Period::Week }),
            stages: vec![PlanStage {
                api: "a".to_owned(),
                stage: "s".to_owned(),
                routes: BTreeMap::from([
                    ("$default".to_owned(), Throttle { burst: None, rate: Some(1.0) }),
                    ("/pets/GET".to_owned(), Throttle { burst: Some(4), rate: Some(5.0) }),
                ]),
            }],
            ..plan()
        };
        assert_eq!(made, expected);
        let map = r#"{"x": {"rateLimit": 7}}"#;
        let changed =
            patched(made.clone(), &[(Op::Replace, "/apiStages/a:s/throttle", map)]).unwrap();
        assert_eq!(changed.stages[0].routes.keys().collect::<Vec<_>>(), ["x"]);
        let removed = patched(
            made,
            &[
                (Op::Remove, "/apiStages/a:s/throttle/$default", ""),
                (Op::Remove, "/apiStages/a:s/throttle", ""),
                (Op::Remove, "/apiStages", "a:s"),
                (Op::Remove, "/throttle", ""),
                (Op::Remove, "/quota", ""),
                (Op::Replace, "/description", ""),
                (Op::Replace, "/name", "n"),
            ],
        );
        assert_eq!(removed.unwrap(), plan());
    }

    #[test]
    fn what_is_no_path_is_named() {
        let error = |op, path, value| patched(plan(), &[(op, path, value)]).unwrap_err();
        let text = error(Op::Remove, "/apiStagesX", "").to_string();
        assert!(
            text.starts_with("Invalid patch path  '/apiStagesX' specified for op 'remove'. Must be one of: [/apiStages,"),
            "{text}"
        );
        assert_eq!(error(Op::Add, "/apiStages", "none").to_string(), "Invalid API Stage specified");
        assert_eq!(
            error(Op::Remove, "/apiStages", "a:s").to_string(),
            "Invalid API Stage {api: a, stage: s} specified for usageplan p"
        );
        assert!(matches!(error(Op::Add, "/productCode", "x"), Error::NotBuilt(_)));
        assert!(matches!(error(Op::Add, "/quota/offset", "1"), Error::Invalid(_)));
        assert!(matches!(error(Op::Add, "/throttle/rateLimit", "x"), Error::Invalid(_)));
        assert!(matches!(error(Op::Remove, "/name", ""), Error::Invalid(_)));
    }
}
