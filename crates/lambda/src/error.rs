//! Every error of this crate, and its one translation to AWS.
//!
//! `Display` is the text that the client reads, in AWS's words where AWS has some (`reference` recordings), except for
//! faults of ours, whose text stays in the log.

use gatemill_api::lambda::errors;
use gatemill_wire::{
    ApiError, Gap,
    error::{ErrorShape, common},
};

use crate::load::{RETRY_AFTER, Throttle};

/// Why an operation or a call was refused, or failed by our fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such function, or no such version of it. Holds the ARN that was asked for.
    #[error("Function not found: {0}")]
    FunctionNotFound(String),
    /// The reference names another region.
    #[error("Functions from '{named}' are not reachable in this region ('{here}')")]
    OtherRegion {
        /// The region that was named.
        named: String,
        /// The region of the call.
        here: String,
    },
    /// Something that belongs to a function is missing: a policy, a statement.
    #[error("{0}")]
    NotFound(String),
    /// As [`Self::NotFound`], where AWS answers without a type.
    #[error("{0}")]
    UntypedNotFound(String),
    /// There is no such code signing configuration.
    #[error("{0}")]
    CodeSigningConfigNotFound(String),
    /// Code that a function's code signing configuration does not allow.
    #[error("{0}")]
    CodeVerification(String),
    /// Code that is not what was signed.
    #[error("{0}")]
    InvalidCodeSignature(String),
    /// The caller may not do this.
    #[error("{0}")]
    AccessDenied(String),
    /// A parameter that AWS's service, not its model, refuses.
    #[error("{0}")]
    InvalidParameter(String),
    /// Code that stayed in S3 is not there any more.
    #[error("{0}")]
    CodeDeleted(String),
    /// Code that stayed in S3 cannot be got.
    #[error("{0}")]
    CodeFailed(String),
    /// A parameter that breaks a constraint of the model, where the service looks at it itself.
    #[error("{0}")]
    Validation(String),
    /// The event is no JSON, or not as its type wants it.
    #[error("{0}")]
    InvalidRequestContent(String),
    /// A function of that name exists.
    #[error("Function already exist: {0}")]
    FunctionExists(String),
    /// The function's state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// Another change of it is under way.
    #[error("{0}")]
    InUse(String),
    /// A revision id that is not the latest one; `operation` is the one that gives the latest.
    #[error(
        "The Revision Id provided does not match the latest Revision Id. Call the {operation} API to retrieve the \
         latest Revision Id"
    )]
    Revision {
        /// The operations to call, as AWS's text names them.
        operation: &'static str,
    },
    /// A zip that is larger than a request may carry.
    #[error("Zipped size must be smaller than {max} bytes")]
    ZipTooLarge {
        /// The limit.
        max: usize,
    },
    /// An event that is too large for its type of call.
    #[error("Request must be smaller than {max} bytes for the InvokeFunction operation")]
    EventTooLarge {
        /// The limit.
        max: usize,
    },
    /// A chain of functions goes round in circles.
    #[error(
        "The function was invoked too many times in one chain of requests, and was stopped as part of a recursive loop."
    )]
    Recursive,
    /// More events wait than this server keeps.
    #[error("Rate Exceeded.")]
    TooManyEvents,
    /// All code of the account together would be too large.
    #[error("Code storage limit exceeded.")]
    CodeStorage,
    /// The resource policy would be too long.
    #[error("The final policy size ({bytes}) is bigger than the limit ({max}).")]
    PolicyTooLong {
        /// What it would be.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A call is one too many, or comes too early.
    #[error("Rate Exceeded.")]
    Throttled(Throttle),
    /// There is a durable execution of that name, with another input.
    #[error("A durable execution named {0} was already started with a different input payload.")]
    DurableExecutionStarted(String),
    /// Nobody waits for a callback any more.
    #[error("{0}")]
    CallbackTimeout(String),
    /// There is no provisioned concurrency of that version.
    #[error("No Provisioned Concurrency Config found for this function")]
    NotProvisioned,
    /// A change of concurrency that is not possible; AWS answers some of them without their type.
    #[error("{0}")]
    Concurrency(String),
    /// A part of AWS's interface that this version does not have. Says which.
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
    /// The server is about to end.
    #[error("The server is shutting down. Send the request again.")]
    Draining,
    /// No interpreter of this host may run the function's runtime.
    #[error("The runtime {runtime} is not installed on this host. Installed: {installed}")]
    RuntimeMissing {
        /// The runtime identifier.
        runtime: String,
        /// What is installed.
        installed: String,
    },
    /// The function is held to a version of its runtime that this host does not have any more.
    #[error(
        "The runtime version that the function's runtime management configuration names is not installed on this host any \
         more. Update the function, or change its runtime management configuration."
    )]
    RuntimePinned,
    /// The function's own entry point cannot be started; its caller reads that as a failure of the function.
    #[error("{}", .0.problem)]
    Entrypoint(Entrypoint),
    /// The initialisation that a version starts from failed; says how.
    #[error("{0}")]
    InitFailed(String),
    /// A fault of ours; says what was attempted.
    #[error("{0}")]
    Internal(&'static str),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] gatemill_store::Error),
    /// An environment could not be made.
    #[error("an environment could not be started")]
    Sandbox(#[source] gatemill_sandbox::Error),
    /// The client of the function's runtime could not be compiled on this machine.
    #[error("the runtime could not be prepared")]
    Runtime(#[source] gatemill_sandbox::runtime::BuildError),
    /// A package that was taken cannot be unpacked.
    #[error("a package could not be unpacked")]
    Unpack(#[source] crate::BadZip),
    /// A container image cannot be got.
    #[error("a container image could not be got")]
    Image(#[source] gatemill_image::Error),
    /// A file of ours could not be read or written.
    #[error("could not {doing}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// Why an entry point cannot be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrypoint {
    /// `Runtime.InvalidEntrypoint` and its like.
    pub kind: &'static str,
    /// In the words of AWS's agent.
    pub problem: String,
}

impl Error {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    pub(crate) fn runtime_missing(
        runtime: &str,
        missing: &gatemill_sandbox::runtime::NoSuchRuntime,
    ) -> Self {
        let installed = missing.installed.join(", ");
        let installed = if installed.is_empty() { "none".to_owned() } else { installed };
        Self::RuntimeMissing { runtime: runtime.to_owned(), installed }
    }

    /// This level and those below, for the log.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}

/// `InvalidParameterValueException` without its `Type`, as recorded of the operations on concurrency.
static UNTYPED_INVALID_PARAMETER_VALUE: ErrorShape = ErrorShape {
    code: "InvalidParameterValueException",
    status: 400,
    message_member: Some("message"),
    typed: false,
};

/// `ResourceNotFoundException` without its `Type`, as recorded of code signing configurations.
static UNTYPED_NOT_FOUND: ErrorShape = ErrorShape {
    code: "ResourceNotFoundException",
    status: 404,
    message_member: Some("Message"),
    typed: false,
};

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let shape = match &error {
            Error::FunctionNotFound(_) | Error::OtherRegion { .. } | Error::NotFound(_) => {
                &errors::RESOURCE_NOT_FOUND_EXCEPTION
            }
            Error::UntypedNotFound(_) => &UNTYPED_NOT_FOUND,
            Error::CodeSigningConfigNotFound(_) => &errors::CODE_SIGNING_CONFIG_NOT_FOUND_EXCEPTION,
            Error::CodeVerification(_) => &errors::CODE_VERIFICATION_FAILED_EXCEPTION,
            Error::InvalidCodeSignature(_) => &errors::INVALID_CODE_SIGNATURE_EXCEPTION,
            Error::AccessDenied(_) => &common::ACCESS_DENIED,
            Error::InvalidParameter(_) | Error::RuntimeMissing { .. } => {
                &errors::INVALID_PARAMETER_VALUE_EXCEPTION
            }
            Error::Validation(_) => &common::VALIDATION,
            Error::InvalidRequestContent(_) => &errors::INVALID_REQUEST_CONTENT_EXCEPTION,
            Error::FunctionExists(_) | Error::Conflict(_) => &errors::RESOURCE_CONFLICT_EXCEPTION,
            Error::InUse(_) => &errors::RESOURCE_IN_USE_EXCEPTION,
            Error::Revision { .. } => &errors::PRECONDITION_FAILED_EXCEPTION,
            Error::ZipTooLarge { .. } | Error::EventTooLarge { .. } => {
                &common::REQUEST_ENTITY_TOO_LARGE
            }
            Error::CodeDeleted(_) => &errors::CODE_ARTIFACT_USER_DELETED_EXCEPTION,
            Error::CodeFailed(_) => &errors::CODE_ARTIFACT_USER_FAILED_EXCEPTION,
            Error::Recursive => &errors::RECURSIVE_INVOCATION_EXCEPTION,
            Error::TooManyEvents => &errors::TOO_MANY_REQUESTS_EXCEPTION,
            Error::CodeStorage => &errors::CODE_STORAGE_EXCEEDED_EXCEPTION,
            Error::PolicyTooLong { .. } => &errors::POLICY_LENGTH_EXCEEDED_EXCEPTION,
            Error::Throttled(throttle) => {
                return ApiError::new(&errors::TOO_MANY_REQUESTS_EXCEPTION, error.to_string())
                    .with_member("Reason", throttle.reason())
                    .with_header("Retry-After", RETRY_AFTER.as_secs().to_string());
            }
            Error::Entrypoint(_) | Error::RuntimePinned => &errors::INVALID_RUNTIME_EXCEPTION,
            Error::DurableExecutionStarted(_) => {
                &errors::DURABLE_EXECUTION_ALREADY_STARTED_EXCEPTION
            }
            Error::CallbackTimeout(_) => &errors::CALLBACK_TIMEOUT_EXCEPTION,
            Error::NotProvisioned => &errors::PROVISIONED_CONCURRENCY_CONFIG_NOT_FOUND_EXCEPTION,
            Error::Concurrency(_) => &UNTYPED_INVALID_PARAMETER_VALUE,
            Error::NotBuilt(_) | Error::NotConfigured { .. } => &common::NOT_IMPLEMENTED,
            Error::Draining => &errors::SERVICE_EXCEPTION,
            Error::Internal(_)
            | Error::Store(_)
            | Error::Sandbox(_)
            | Error::Runtime(_)
            | Error::InitFailed(_)
            | Error::Unpack(_)
            | Error::Image(_)
            | Error::Io { .. } => {
                return ApiError::internal(&errors::SERVICE_EXCEPTION, error.chain());
            }
        };
        ApiError::new(shape, error.to_string())
    }
}
