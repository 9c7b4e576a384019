//! The snapshots of now, by API.
//!
//! A commit that changes an API counts its generation up, before the call that made it is answered. A request compares
//! the snapshot's generation with that count: it never sees an older state than an answered call made. A worker
//! compiles ahead of requests; a request that comes first compiles itself, once for all who wait with it. Many changes
//! in a row cost one compilation.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use gatemill_store::Store;
use tokio::sync::{Mutex, mpsc};

use crate::{
    error::Result,
    limits::{COMPILE_REST_FACTOR, COMPILE_REST_MAX, COMPILE_WAITING_MAX},
    snapshot::{self, ApiSnapshot, Shared},
};

/// The snapshots of all APIs that were asked for.
pub(crate) struct Live {
    store: Store,
    shared: Arc<Shared>,
    apis: papaya::HashMap<String, Arc<LiveApi>>,
    ahead: mpsc::Sender<String>,
    /// Held by the worker for its life, so that one that is started again goes on.
    waiting: Mutex<mpsc::Receiver<String>>,
}

#[derive(Default)]
struct LiveApi {
    /// Counts the changes.
    generation: AtomicU64,
    compiled: ArcSwapOption<Compiled>,
    compiling: Mutex<()>,
}

struct Compiled {
    generation: u64,
    api: Option<Arc<ApiSnapshot>>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("apis", &self.apis.len()).finish_non_exhaustive()
    }
}

impl Live {
    pub(crate) fn new(store: Store, shared: Arc<Shared>) -> Self {
        let (ahead, waiting) = mpsc::channel(COMPILE_WAITING_MAX);
        Self { store, shared, apis: papaya::HashMap::new(), ahead, waiting: Mutex::new(waiting) }
    }

    /// Says that a commit changed an API. Called by the commit itself, so it must be short.
    pub(crate) fn changed(&self, id: &str) {
        if let Some(api) = self.apis.pin().get(id) {
            api.generation.fetch_add(1, Ordering::Release);
        }
        // Where the worker has too much to do, the next request compiles.
        let _ = self.ahead.try_send(id.to_owned());
    }

    /// Forgets everything: the store was emptied.
    pub(crate) fn clear(&self) {
        let apis = self.apis.pin();
        apis.values().for_each(|api| _ = api.generation.fetch_add(1, Ordering::Release));
        apis.clear();
    }

    /// The API as it is now; `None` when there is none.
    pub(crate) async fn get(&self, id: &str) -> Result<Option<Arc<ApiSnapshot>>> {
        let api = self.apis.pin().get(id).map(Arc::clone);
        let api = match api {
            Some(api) => api,
            None => Arc::clone(self.apis.pin().get_or_insert_with(id.to_owned(), Arc::default)),
        };
        if let Some(compiled) = api.fresh() {
            return Ok(compiled.api.clone());
        }
        let _one_at_a_time = api.compiling.lock().await;
        if let Some(compiled) = api.fresh() {
            return Ok(compiled.api.clone());
        }
        Box::pin(self.compile(id, &api)).await
    }

    async fn compile(&self, id: &str, api: &Arc<LiveApi>) -> Result<Option<Arc<ApiSnapshot>>> {
        // Read before the store is: a change that comes between is compiled again.
        let generation = api.generation.load(Ordering::Acquire);
        let before = api.compiled.load().as_ref().and_then(|compiled| compiled.api.clone());
        let (store, name) = (self.store.clone(), id.to_owned());
        let shared = Arc::clone(&self.shared);
        let compiling = tokio::task::spawn_blocking(move || {
            snapshot::compile(&store, &name, before.as_deref(), &shared)
        });
        let compiled = match compiling.await {
            Ok(compiled) => compiled?.map(Arc::new),
            Err(ended) => std::panic::resume_unwind(ended.into_panic()),
        };
        api.compiled.store(Some(Arc::new(Compiled { generation, api: compiled.clone() })));
        if compiled.is_none() {
            // Ids that nobody has must not fill the memory.
            self.apis.pin().remove(id);
        }
        Ok(compiled)
    }

    /// Compiles what changed, ahead of the requests, with a bounded share of a core.
    pub(crate) async fn compile_ahead(self: Arc<Self>) {
        let mut waiting = self.waiting.lock().await;
        while let Some(id) = waiting.recv().await {
            let started = tokio::time::Instant::now();
            if let Err(error) = self.get(&id).await {
                tracing::error!(api = %id, error = %error, "an API cannot be compiled");
            }
            // No event is waited for: the rest is what bounds this worker's share of a core.
            let rest = started.elapsed() * COMPILE_REST_FACTOR;
            tokio::time::sleep(rest.min(COMPILE_REST_MAX)).await;
        }
    }
}

impl LiveApi {
    fn fresh(&self) -> Option<Arc<Compiled>> {
        let generation = self.generation.load(Ordering::Acquire);
        self.compiled.load_full().filter(|compiled| compiled.generation == generation)
    }
}
