//! Background work: named workers on a thread of their own, started again when they fail.
//!
//! A worker is a future that runs until the server stops. One that panics, or ends although nobody asked it to, is
//! logged and made anew after a wait that doubles; the records that it works on are durable, so it finds its work
//! again. On a stop, workers are dropped wherever they wait: they must bear being killed at any instant anyway.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{error::Error, limits};

/// A worker's future.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A worker, by name, and how to make it: again, if it must be.
#[derive(Clone)]
pub(crate) struct Worker {
    /// What the log calls it.
    pub(crate) name: &'static str,
    /// Makes its future.
    pub(crate) make: Arc<dyn Fn() -> Work + Send + Sync>,
}

/// The thread of the workers.
#[derive(Debug)]
pub(crate) struct Supervisor {
    thread: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Supervisor {
    /// Starts the thread and the workers on it.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub(crate) fn start(workers: Vec<Worker>) -> Result<Self, Error> {
        let refused = |source| Error::System { doing: "start a thread", source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(refused)?;
        let (stop, stopped) = watch::channel(false);
        let body = move || runtime.block_on(run(workers, stopped));
        let thread = thread::Builder::new().name("background".to_owned()).spawn(body);
        Ok(Self { thread: thread.map_err(refused)?, stop })
    }

    /// Ends the workers and their thread.
    pub(crate) fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the background thread had panicked");
        }
    }
}

async fn run(workers: Vec<Worker>, mut stopped: watch::Receiver<bool>) {
    for worker in workers {
        tokio::spawn(keep(worker));
    }
    // The end of the runtime drops them; a lost sender means a stop as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn keep(worker: Worker) {
    let mut wait = limits::WORKER_RETRY_FIRST;
    loop {
        let began = Instant::now();
        let ended = tokio::spawn((worker.make)()).await;
        let why = ended.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
        tracing::error!(worker = worker.name, why, "a worker failed and is started again");
        wait = next_wait(wait, began.elapsed());
        tokio::time::sleep(wait).await;
    }
}

fn next_wait(last: Duration, lived: Duration) -> Duration {
    if lived >= limits::WORKER_HEALTHY {
        limits::WORKER_RETRY_FIRST
    } else {
        (last * 2).min(limits::WORKER_RETRY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use super::*;

    #[test]
    fn a_worker_that_panics_is_made_again() {
        let (made, makings) = mpsc::sync_channel(8);
        let count = Arc::new(AtomicUsize::new(0));
        let make = move || -> Work {
            let (made, count) = (made.clone(), Arc::clone(&count));
            Box::pin(async move {
                let nth = count.fetch_add(1, Ordering::Relaxed);
                made.send(nth).unwrap();
                assert!(nth > 0, "the first one fails");
                std::future::pending::<()>().await;
            })
        };
        let worker = Worker { name: "test", make: Arc::new(make) };
        let supervisor = Supervisor::start(vec![worker]).unwrap();
        for nth in 0..2 {
            assert_eq!(makings.recv_timeout(Duration::from_secs(10)), Ok(nth));
        }
        supervisor.stop();
    }

    #[test]
    fn waits_double_up_to_a_limit_and_fall_back_after_health() {
        let young = Duration::from_secs(1);
        assert_eq!(next_wait(Duration::from_secs(1), young), Duration::from_secs(2));
        assert_eq!(next_wait(limits::WORKER_RETRY_MAX, young), limits::WORKER_RETRY_MAX);
        let old = limits::WORKER_HEALTHY;
        assert_eq!(next_wait(limits::WORKER_RETRY_MAX, old), limits::WORKER_RETRY_FIRST);
    }
}
