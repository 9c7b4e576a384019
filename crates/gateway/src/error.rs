//! Every error of the control plane, and its one translation to AWS.
//!
//! Texts marked *seen* come from AWS's own answers in public issue reports; the others imitate AWS where no record was
//! found. The proxy path has no errors of this kind: it answers requests of strangers with a status and a fixed body
//! (see `proxy::response`).

use gatemill_api::{
    apigateway::errors as rest, apigatewaymanagementapi::errors as management,
    apigatewayv2::errors as aws,
};
use gatemill_wire::{ApiError, Gap, error::common};

/// The result of a control-plane call.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a control-plane call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No API of this id in the caller's account and region.
    #[error("Invalid API identifier specified {account}:{id}")]
    NoSuchApi {
        /// The caller's account.
        account: String,
        /// The id given.
        id: String,
    },
    /// No route of this id.
    #[error("Invalid Route identifier specified {0}")]
    NoSuchRoute(String),
    /// No integration of this id.
    #[error("Invalid Integration identifier specified {0}")]
    NoSuchIntegration(String),
    /// No route response of this id.
    #[error("Invalid RouteResponse identifier specified {0}")]
    NoSuchRouteResponse(String),
    /// No integration response of this id.
    #[error("Invalid IntegrationResponse identifier specified {0}")]
    NoSuchIntegrationResponse(String),
    /// No model of this id.
    #[error("Invalid Model identifier specified {0}")]
    NoSuchModel(String),
    /// A route does not ask for this parameter.
    #[error("Invalid RequestParameter identifier specified {0}")]
    NoSuchRequestParameter(String),
    /// A response with this key is there.
    #[error("{what} with key {key} already exists")]
    ResponseExists {
        /// Of which kind.
        what: &'static str,
        /// Its key.
        key: String,
    },
    /// A model with this name is there.
    #[error("Model name already exists for this Api")]
    ModelExists,
    /// No authorizer of this id.
    #[error("Invalid Authorizer identifier specified {0}")]
    NoSuchAuthorizer(String),
    /// Routes ask the authorizer.
    #[error("Cannot delete authorizer '{id}', is referenced in the following Routes with Ids: [{}]", .routes.join(", "))]
    AuthorizerInUse {
        /// The authorizer.
        id: String,
        /// Some of the routes.
        routes: Vec<String>,
    },
    /// No VPC link of this id.
    #[error("Invalid VpcLink identifier specified {0}")]
    NoSuchVpcLink(String),
    /// No domain of this name. *Seen.*
    #[error("Invalid domain name identifier specified")]
    NoSuchDomain,
    /// No mapping of this id.
    #[error("The api mapping resource specified in the request was not found.")]
    NoSuchMapping,
    /// No routing rule of this id.
    #[error("The routing rule resource specified in the request was not found.")]
    NoSuchRule,
    /// A domain of this name is there, whoever has it. *Seen.*
    #[error("The domain name you provided already exists.")]
    DomainExists,
    /// Mappings lead to the API. *Seen.*
    #[error(
        "Deleting API {0} failed. Please remove all API mappings for the API from your custom domain names."
    )]
    ApiMapped(String),
    /// Mappings lead to the stage. *Seen* of APIs.
    #[error(
        "Deleting stage {0} failed. Please remove all API mappings for the stage from your custom domain names."
    )]
    StageMapped(String),
    /// The domain has a mapping with this key. *Seen.*
    #[error("ApiMapping key already exists for this domain name")]
    MappingExists,
    /// The domain has a rule with this priority.
    #[error("A routing rule with this priority already exists for this domain name")]
    RulePriorityTaken,
    /// No stage of this name.
    #[error("Invalid stage identifier specified")]
    NoSuchStage,
    /// No deployment of this id.
    #[error("Invalid Deployment identifier specified {0}")]
    NoSuchDeployment(String),
    /// No settings for a route of this key.
    #[error("Invalid route settings key specified {0}")]
    NoSuchSettings(String),
    /// Settings for a route that is not there. *Seen.*
    #[error("Unable to find Route by key {0} within the provided RouteSettings")]
    NoRouteForSettings(String),
    /// A tag operation names what is not a tagged resource of ours.
    #[error("Invalid resource identifier specified {0}")]
    NoSuchResource(String),
    /// A route with this key is there. *Seen.*
    #[error("Route with key {0} already exists for this API")]
    RouteExists(String),
    /// A stage with this name is there. *Seen.*
    #[error("Stage already exists")]
    StageExists,
    /// Routes point at the integration. *Seen.*
    #[error("Cannot delete Integration because it is referenced by the following Routes with Ids: [{}]", .0.join(", "))]
    IntegrationInUse(Vec<String>),
    /// Stages point at the deployment. *Seen* of REST APIs.
    #[error("Active stages pointing to this deployment must be moved or deleted")]
    DeploymentInUse,
    /// No API key of this id. *Seen.*
    #[error("Invalid API Key identifier specified")]
    NoSuchApiKey,
    /// An API key with this value is there. *Seen.*
    #[error("API Key already exists")]
    ApiKeyExists,
    /// No usage plan of this id. *Seen.*
    #[error("Invalid Usage Plan ID specified")]
    NoSuchPlan,
    /// A usage plan is to be for a stage that is not there, or to be so no longer and is not. *Seen.*
    #[error("Invalid API Stage {{api: {api}, stage: {stage}}} specified for usageplan {plan}")]
    NoSuchPlanStage {
        /// The API.
        api: String,
        /// The stage.
        stage: String,
        /// The plan.
        plan: String,
    },
    /// A usage plan is for stages. *Seen.*
    #[error(
        "Cannot delete Usage Plan {plan} because there are API Stages associated with it, including {stage}"
    )]
    PlanHasStages {
        /// The plan.
        plan: String,
        /// One of the stages, behind its API.
        stage: String,
    },
    /// The key is in the usage plan.
    #[error("Usage Plan Key already exists")]
    KeyInPlan,
    /// The key is in another usage plan for the same stage.
    #[error("API Key {key} is already in Usage Plan {plan} for API Stage {stage}")]
    KeyInOtherPlan {
        /// The key.
        key: String,
        /// The other plan.
        plan: String,
        /// The stage, behind its API.
        stage: String,
    },
    /// A patch removes from a map what is not in it. *Seen* of other resources.
    #[error("Invalid parameter name specified")]
    NoSuchParameter,
    /// A quota of an account is used up.
    #[error(
        "Maximum number of {0} for this account has been reached. Please contact AWS if you need additional {0}."
    )]
    TooManyOf(&'static str),
    /// The value of an API key cannot be sealed or opened.
    #[error("the value of an API key cannot be sealed or opened")]
    Sealing,
    /// The request contradicts itself or the API.
    #[error("{0}")]
    Invalid(String),
    /// A quota is used up. *Seen* of integrations.
    #[error(
        "Maximum number of {0} for this API has been reached. Please contact AWS if you need additional {0}."
    )]
    TooMany(&'static str),
    /// A member that AWS knows and this version does not enforce.
    #[error("{0}")]
    NotBuilt(&'static Gap),
    /// The same, of what the server is not configured for.
    #[error("{missing}")]
    NotConfigured {
        /// What is refused.
        gap: &'static Gap,
        /// What the operator has to do.
        missing: String,
    },
    /// No such connection, or it is closing.
    #[error("the connection is gone")]
    Gone,
    /// The client of a connection does not read what it was sent.
    #[error("the client's buffer is full")]
    ClientBufferFull,
    /// What is posted to a connection is larger than 128 KB.
    #[error("Message exceeded the maximum allowed size of 131072 bytes")]
    PayloadTooLarge,
    /// A connection to an API of another account.
    #[error("the connection is another account's")]
    NotYours,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] gatemill_store::Error),
    /// The client for HTTP integrations cannot be set up.
    #[error("no TLS for HTTP integrations")]
    Tls(#[source] rustls::Error),
    /// The operator's roots for servers of integrations cannot be read.
    #[error("the roots for servers of integrations cannot be read")]
    Roots(#[source] std::io::Error),
}

impl Error {
    /// A request that contradicts itself or the API, in AWS's words.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let shape = match &error {
            Error::NoSuchApi { .. }
            | Error::NoSuchRoute(_)
            | Error::NoSuchIntegration(_)
            | Error::NoSuchAuthorizer(_)
            | Error::NoSuchVpcLink(_)
            | Error::NoSuchDomain
            | Error::NoSuchMapping
            | Error::NoSuchRule
            | Error::NoSuchStage
            | Error::NoSuchDeployment(_)
            | Error::NoSuchSettings(_)
            | Error::NoRouteForSettings(_)
            | Error::NoSuchRouteResponse(_)
            | Error::NoSuchIntegrationResponse(_)
            | Error::NoSuchModel(_)
            | Error::NoSuchRequestParameter(_)
            | Error::NoSuchApiKey
            | Error::NoSuchPlan
            | Error::NoSuchPlanStage { .. }
            | Error::NoSuchParameter
            | Error::NoSuchResource(_) => &aws::NOT_FOUND_EXCEPTION,
            Error::RouteExists(_)
            | Error::StageExists
            | Error::ResponseExists { .. }
            | Error::ModelExists
            | Error::IntegrationInUse(_)
            | Error::ApiKeyExists
            | Error::KeyInPlan
            | Error::KeyInOtherPlan { .. }
            | Error::MappingExists
            | Error::RulePriorityTaken
            | Error::AuthorizerInUse { .. } => &aws::CONFLICT_EXCEPTION,
            Error::Invalid(_)
            | Error::DomainExists
            | Error::ApiMapped(_)
            | Error::StageMapped(_)
            | Error::DeploymentInUse
            | Error::PlanHasStages { .. } => &aws::BAD_REQUEST_EXCEPTION,
            Error::TooMany(_) => &aws::TOO_MANY_REQUESTS_EXCEPTION,
            Error::TooManyOf(_) => &rest::LIMIT_EXCEEDED_EXCEPTION,
            Error::NotBuilt(_) | Error::NotConfigured { .. } => &common::NOT_IMPLEMENTED,
            Error::Gone => &management::GONE_EXCEPTION,
            Error::ClientBufferFull => &management::LIMIT_EXCEEDED_EXCEPTION,
            Error::PayloadTooLarge => &management::PAYLOAD_TOO_LARGE_EXCEPTION,
            Error::NotYours => &management::FORBIDDEN_EXCEPTION,
            Error::Store(_) | Error::Tls(_) | Error::Roots(_) | Error::Sealing => {
                return Self::internal(&common::INTERNAL_FAILURE, chain(&error));
            }
        };
        Self::new(shape, error.to_string())
    }
}

/// An error with its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
