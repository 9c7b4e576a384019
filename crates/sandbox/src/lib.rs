//! Execution environments for hostile code: start, talk to, measure and end them.
//!
//! [`Sandboxes::spawn`] starts sandboxd, the privileged process (`gatemill-jailer`);
//! [`Sandboxes::start`] has it make a sandbox and run a program in it; a [`Sandbox`] is the living
//! thing. What the program says on its channel is not this module's business.
//!
//! | module | what it holds |
//! |---|---|
//! | `sandboxes`, `daemon`, `link` | the handle of the server, and the thread at its end of sandboxd's socket |
//! | `sandbox` | one living sandbox: channel, output, listener, end |
//! | `holder` | the process that holds the program of a sandbox and its companions |
//! | `template` | a process that is forked into sandboxes |
//! | [`runtime`] | which interpreters this machine has, and our clients for them |
//! | `error`, `limits` | why a sandbox could not be had; every bound |

mod daemon;
mod error;
pub mod handover;
mod holder;
mod limits;
mod link;
pub mod runtime;
mod sandbox;
mod sandboxes;
mod template;

pub use error::Error;
pub use gatemill_jailer::Companions;
pub use gatemill_jailer::limits::API_PORT;
pub use gatemill_jailer::limits::MAX_RESOLVERS;
pub use gatemill_jailer::protocol::ExitStatus;
pub use gatemill_jailer::vacant;
pub use gatemill_jailer::{
    Assignment, Bind, Egress, Enforced, Invalid, Isolation, Network, Pool, PoolError, Spec,
    take_short_turns,
};
pub use holder::{Fate, Holder, Who};
pub use sandbox::{API_ADDRESS, Exit, Sandbox, Sockets, Turn};
pub use sandboxes::{Config, Preparation, Sandboxes};
pub use template::Template;
