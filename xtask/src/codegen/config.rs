//! Which services are generated, and where we differ from their models on purpose.

/// The pinned version of the package that carries the models.
pub(crate) const BOTOCORE: &str = "1.44.5";

/// One service to generate.
#[derive(Debug)]
pub(crate) struct ServiceConfig {
    /// The directory of its model, and the module.
    pub(crate) name: &'static str,
    /// The API version of the model.
    pub(crate) version: &'static str,
    /// Operations that get shapes and types; the others are constants only, which answer 501.
    pub(crate) shapes: Shapes,
    /// How an operation's IAM action is made.
    pub(crate) action: Action,
    /// The Rust path of the error for violated constraints.
    pub(crate) validation: &'static str,
    /// The Rust path of the error for a malformed body.
    pub(crate) malformed: &'static str,
}

/// Which operations get shapes and types.
#[derive(Debug)]
pub(crate) enum Shapes {
    /// All of them.
    All,
    /// These.
    Only(&'static [&'static str]),
}

/// How an operation's IAM action is made.
#[derive(Debug)]
pub(crate) enum Action {
    /// `<prefix>:<Operation>`, with exceptions.
    Named { prefix: &'static str, except: &'static [(&'static str, &'static str)] },
    /// `<prefix>:<METHOD>`.
    Method { prefix: &'static str },
    /// One for all.
    Fixed(&'static str),
}

impl Action {
    /// The action of one operation.
    pub(crate) fn of(&self, operation: &str, method: &str) -> String {
        match self {
            Action::Named { prefix, except } => {
                except.iter().find(|(name, _)| *name == operation).map_or_else(
                    || format!("{prefix}:{operation}"),
                    |(_, action)| (*action).to_owned(),
                )
            }
            Action::Method { prefix } => format!("{prefix}:{method}"),
            Action::Fixed(action) => (*action).to_owned(),
        }
    }
}

/// The services, in the order of the generated index.
pub(crate) const SERVICES: &[ServiceConfig] = &[
    ServiceConfig {
        name: "lambda",
        version: "2015-03-31",
        shapes: Shapes::All,
        action: Action::Named {
            prefix: "lambda",
            // The service authorization reference has one action for every way to invoke.
            except: &[
                ("Invoke", "lambda:InvokeFunction"),
                ("InvokeAsync", "lambda:InvokeFunction"),
                ("InvokeWithResponseStream", "lambda:InvokeFunction"),
            ],
        },
        validation: "gatemill_wire::error::common::VALIDATION",
        malformed: "errors::INVALID_REQUEST_CONTENT_EXCEPTION",
    },
    ServiceConfig {
        name: "apigateway",
        version: "2015-07-09",
        shapes: Shapes::All,
        action: Action::Method { prefix: "apigateway" },
        // Not in the model; recorded answers of the service have these for what its framework refuses.
        validation: "gatemill_wire::error::common::VALIDATION",
        malformed: "gatemill_wire::error::common::SERIALIZATION",
    },
    ServiceConfig {
        name: "apigatewayv2",
        version: "2018-11-29",
        shapes: Shapes::All,
        action: Action::Method { prefix: "apigateway" },
        validation: "errors::BAD_REQUEST_EXCEPTION",
        malformed: "errors::BAD_REQUEST_EXCEPTION",
    },
    ServiceConfig {
        name: "apigatewaymanagementapi",
        version: "2018-11-29",
        shapes: Shapes::All,
        action: Action::Fixed("execute-api:ManageConnections"),
        // The model declares no BadRequestException, though the service answers with one.
        validation: "crate::undeclared::BAD_REQUEST_EXCEPTION",
        malformed: "crate::undeclared::BAD_REQUEST_EXCEPTION",
    },
    ServiceConfig {
        name: "logs",
        version: "2014-03-28",
        shapes: Shapes::Only(&[
            "CreateLogGroup",
            "CreateLogStream",
            "DeleteLogGroup",
            "DeleteLogStream",
            "DeleteRetentionPolicy",
            "DescribeLogGroups",
            "DescribeLogStreams",
            "FilterLogEvents",
            "GetLogEvents",
            "ListTagsForResource",
            "ListTagsLogGroup",
            "PutLogEvents",
            "PutRetentionPolicy",
            "TagResource",
            "UntagResource",
        ]),
        action: Action::Named { prefix: "logs", except: &[] },
        validation: "errors::INVALID_PARAMETER_EXCEPTION",
        malformed: "gatemill_wire::error::common::SERIALIZATION",
    },
    ServiceConfig {
        name: "cloudwatch",
        version: "2010-08-01",
        shapes: Shapes::Only(&["GetMetricData", "GetMetricStatistics", "ListMetrics"]),
        action: Action::Named { prefix: "cloudwatch", except: &[] },
        validation: "gatemill_wire::error::common::VALIDATION",
        malformed: "gatemill_wire::error::common::SERIALIZATION",
    },
    ServiceConfig {
        name: "sts",
        version: "2011-06-15",
        shapes: Shapes::Only(&["GetCallerIdentity"]),
        action: Action::Named { prefix: "sts", except: &[] },
        validation: "gatemill_wire::error::common::VALIDATION",
        malformed: "gatemill_wire::error::common::VALIDATION",
    },
];

/// Where a shape differs from its model.
#[derive(Debug)]
pub(crate) struct Override {
    /// The service.
    pub(crate) service: &'static str,
    /// The shape.
    pub(crate) shape: &'static str,
    /// What differs.
    pub(crate) change: Change,
    /// Why; it is written beside the generated shape.
    pub(crate) reason: &'static str,
}

/// A difference from the model.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// The values of the enum are not enforced by the validator.
    OpenEnum,
    /// The same values in the order in which the service's messages list them.
    Order(&'static [&'static str]),
    /// No member is required.
    OptionalMembers,
}

/// The differences.
pub(crate) const OVERRIDES: &[Override] = &[
    Override {
        service: "lambda",
        shape: "Runtime",
        change: Change::OpenEnum,
        reason: "the service answers an unknown runtime with a text and a list of its own",
    },
    Override {
        service: "lambda",
        shape: "GetFunctionCodeSigningConfigResponse",
        change: Change::OptionalMembers,
        reason: "recorded answers for a function without one are empty",
    },
    Override {
        service: "lambda",
        shape: "InvokeMode",
        change: Change::Order(&["RESPONSE_STREAM", "BUFFERED"]),
        reason: "the order in recorded answers",
    },
    Override {
        service: "apigateway",
        shape: "EndpointType",
        change: Change::Order(&["PRIVATE", "EDGE", "REGIONAL"]),
        reason: "the order in recorded answers",
    },
    Override {
        service: "apigateway",
        shape: "Op",
        change: Change::Order(&["add", "remove", "move", "test", "replace", "copy"]),
        reason: "the order in recorded answers",
    },
];

/// The difference of one shape, if it has one.
pub(crate) fn override_of(service: &str, shape: &str) -> Option<&'static Override> {
    OVERRIDES.iter().find(|entry| entry.service == service && entry.shape == shape)
}
