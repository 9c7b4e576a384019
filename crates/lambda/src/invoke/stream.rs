//! The second path for a caller that reads while the function runs.
//!
//! The steps are the same; only the answer goes another way. They run in a task of their own from the start, because
//! they go on after the caller was told of the begin, whether it reads then or not.

use std::sync::Arc;

use crate::{Error, Invocation, Lambda, Streaming, answer::Answer};

/// Begins one call, and returns when its answer begins.
pub(crate) async fn invoke(lambda: Arc<Lambda>, mut call: Invocation) -> Result<Streaming, Error> {
    let (mut answer, begun) = Answer::streamed(lambda.settings.limits_stream_bandwidth);
    tokio::spawn(async move {
        let result = super::run(&lambda, &mut call, &mut answer).await;
        answer.finish(result);
    });
    begun.await.unwrap_or(Err(Error::Internal("a streamed call panicked")))
}
