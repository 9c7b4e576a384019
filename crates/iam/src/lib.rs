//! Policy documents and their evaluation.
//!
//! [`Document`] is a policy as JSON says it; [`evaluate`] decides whether a set of them lets a [`Request`] through:
//! a matching `Deny` refuses, else a matching `Allow` lets through, else nothing is said, which refuses as well.
//!
//! The crate is pure and knows no service: what a request's action, resource and condition keys are called is the
//! caller's business. It does not know identities, boundaries or session policies, and it fails closed: a statement
//! with an operator that is not known here never allows, and always denies when it says `Deny`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`document`] | the JSON form: statements, principals, conditions |
//! | [`evaluation`] | the decision |
//! | [`condition`] | the condition operators |
//! | [`pattern`] | `*` and `?`, in plain text and in ARNs |

pub mod condition;
pub mod document;
pub mod evaluation;
pub mod limits;
pub mod pattern;

pub use document::{BadDocument, Document};
pub use evaluation::{Context, Decision, Principal, Request, evaluate};
