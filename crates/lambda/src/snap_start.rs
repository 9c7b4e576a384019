//! SnapStart: the seam between publishing a version and what it starts from.
//!
//! The worker of versions awaits [`prepare_snapshot`] before a version with SnapStart becomes Active. Nothing makes
//! snapshots yet, so `ApplyOn=PublishedVersions` is refused where functions are configured and no record asks for one.

use std::sync::Arc;

use crate::{Error, Lambda, invoke::resolve::Version};

/// Initialises a version and keeps what it starts from. Called again when the worker is started anew before the version
/// was settled, so it must bear being repeated.
///
/// # Errors
/// What keeps the version from becoming Active.
#[expect(clippy::unused_async, reason = "the worker awaits it; what makes snapshots will wait")]
pub(crate) async fn prepare_snapshot(
    _lambda: &Arc<Lambda>,
    version: &Arc<Version>,
) -> Result<(), Error> {
    tracing::error!(function = %version.key, version = version.name(), "no snapshot can be made");
    Err(Error::Internal("make a snapshot of a version"))
}
