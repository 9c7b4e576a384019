//! A future that is not cancelled by being dropped.
//!
//! Customer code that has begun is not undone because a client hung up, and an environment must not be returned half
//! read. Polled in place while someone waits, which costs no task; what is left when nobody does becomes a task.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Runs `future` in place, and in a task of the current runtime when the result is dropped before its end.
pub(crate) fn run_to_end<F>(future: F) -> impl Future<Output = F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    RunToEnd(Some(Box::pin(future)))
}

struct RunToEnd<F: Future + Send + 'static>(Option<Pin<Box<F>>>)
where
    F::Output: Send + 'static;

impl<F: Future + Send + 'static> Future for RunToEnd<F>
where
    F::Output: Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.0.as_mut().expect("a future is not polled after its end");
        let output = std::task::ready!(future.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<F: Future + Send + 'static> Drop for RunToEnd<F>
where
    F::Output: Send + 'static,
{
    fn drop(&mut self) {
        let (Some(rest), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current())
        else {
            // Without a runtime nothing can run on; dropping the rest kills its environment.
            return;
        };
        if !std::thread::panicking() {
            runtime.spawn(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_dropped_goes_on() {
        let (go, wait) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let mut call = Box::pin(run_to_end(async move {
            wait.await.unwrap();
            done.send(7).unwrap();
        }));
        assert!(futures_poll(call.as_mut()).is_pending());
        drop(call);
        go.send(()).unwrap();
        assert_eq!(ended.await, Ok(7));
    }

    #[tokio::test]
    async fn what_ends_in_place_gives_its_output() {
        assert_eq!(run_to_end(async { 3 }).await, 3);
    }

    fn futures_poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(std::task::Waker::noop()))
    }
}
