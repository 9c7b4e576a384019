//! Images on the disk: layers by their digest, which images share, and one directory tree per image.
//!
//! A layer and a tree get their names when they are whole and on the disk, so what a killed process left behind is
//! never used; opening removes it. A tree needs nothing any more but itself: a function runs on when the registry is
//! gone. Layers are kept as long as a tree was made of them, so that the next image fetches what is new in it.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{OnceCell, RwLock, Semaphore},
    task::JoinSet,
    time::timeout,
};

use crate::{
    Digest, Error, Reference, Settings,
    decompress::Compression,
    limits::{LAYERS_AT_ONCE, PULL_WAIT, PULLS_AT_ONCE, RESOLVE_WAIT},
    manifest::{Blob, Config, Manifest, Process},
    registry::{Registry, Repository},
    source::{self, Source},
    unpack::Unpacker,
};

const LAYERS: &str = "layers";
const TREES: &str = "images";
const PARTIAL: &str = "partial";
const ROOT: &str = "rootfs";
const ABOUT: &str = "image.json";

/// The images of a server.
#[derive(Debug)]
pub struct Images {
    dir: PathBuf,
    settings: Settings,
    registry: Arc<Registry>,
    known: Mutex<HashMap<Digest, Arc<Entry>>>,
    pulls: Semaphore,
    /// Read while layers are fetched and unpacked, so that none is removed meanwhile.
    layers: RwLock<()>,
    /// For names of what is not whole yet.
    count: AtomicU64,
}

/// One image; pulled once, however many want it at one time.
type Entry = OnceCell<Arc<Unpacked>>;

/// An image as a directory tree; it stays on the disk at least as long as this lives.
#[derive(Debug)]
pub struct Unpacked {
    root: PathBuf,
    process: Process,
}

impl Unpacked {
    /// The directory that is the image's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How the image wants to be run.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Whether there is a file at this path that may be executed, links followed as if the image were everything.
    pub fn is_program(&self, path: &Path) -> bool {
        let dir = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = OFlags::PATH | OFlags::CLOEXEC;
        let found = openat(CWD, &self.root, dir, Mode::empty())
            .and_then(|root| openat2(root, path, file, Mode::empty(), resolve))
            .and_then(|file| statat(&file, "", AtFlags::EMPTY_PATH));
        found.is_ok_and(|found| {
            let mode = Mode::from_raw_mode(found.st_mode);
            FileType::from_raw_mode(found.st_mode).is_file()
                && mode.intersects(Mode::XUSR | Mode::XGRP | Mode::XOTH)
        })
    }
}

/// What is written beside a tree.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    process: Process,
    /// What the tree was made of.
    layers: Vec<Digest>,
}

/// Tells a thread that unpacks to stop when nobody waits for it any more.
#[derive(Default)]
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A file that is not whole yet; what happens to it is over when this goes.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // Named by now, or good for nothing; opening removes what cannot be removed now.
        let _ = fs::remove_file(&self.0);
    }
}

impl Images {
    /// Opens the directory, and removes what a killed process left behind.
    ///
    /// # Errors
    /// When it cannot be made ready, or TLS cannot.
    pub fn open(dir: &Path, settings: Settings) -> Result<Self, Error> {
        let prepare = || -> io::Result<PathBuf> {
            for below in [LAYERS, TREES, PARTIAL] {
                DirBuilder::new().recursive(true).mode(0o755).create(dir.join(below))?;
            }
            let dir = fs::canonicalize(dir)?;
            for entry in fs::read_dir(dir.join(PARTIAL))? {
                remove(&entry?.path())?;
            }
            Ok(dir)
        };
        let dir = prepare().map_err(Error::io("make the directory of images ready"))?;
        Ok(Self {
            dir,
            registry: Arc::new(Registry::new(settings.clone())?),
            settings,
            known: Mutex::default(),
            pulls: Semaphore::new(PULLS_AT_ONCE),
            layers: RwLock::default(),
            count: AtomicU64::new(0),
        })
    }

    /// Which image a reference means now: the digest of the manifest for this machine.
    ///
    /// # Errors
    /// When there is none, or none that could run here.
    pub async fn resolve(&self, reference: &Reference) -> Result<Digest, Error> {
        let resolve = async {
            let source = Source::of(reference, &self.registry, &self.settings)?;
            Ok(source.manifest(reference).await?.0)
        };
        let resolved = timeout(RESOLVE_WAIT, resolve).await;
        resolved.unwrap_or_else(|_| Err(Error::Unreachable("it takes too long".to_owned())))
    }

    /// The image with this digest, got and unpacked now if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be had or is not acceptable; nothing is left of it then.
    pub async fn ensure(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<Arc<Unpacked>, Error> {
        let entry = Arc::clone(self.lock().entry(*digest).or_default());
        let unpacked = entry.get_or_try_init(|| async {
            if let Some(about) = self.about(digest)? {
                let (root, process) = (self.tree(digest).join(ROOT), about.process);
                return Ok(Arc::new(Unpacked { root, process }));
            }
            let _turn = self.pulls.acquire().await.map_err(|_| Error::Interrupted)?;
            let pulled = timeout(PULL_WAIT, self.pull(reference, digest)).await;
            pulled.unwrap_or_else(|_| Err(Error::Unreachable("it takes too long".to_owned())))
        });
        unpacked.await.map(Arc::clone)
    }

    /// Removes an image from the disk unless something uses it. Whether it is gone. Takes a while: not for a thread
    /// that serves calls.
    ///
    /// # Errors
    /// When its files cannot be removed.
    pub fn remove(&self, digest: &Digest) -> Result<bool, Error> {
        let mut known = self.lock();
        let used = known.get(digest).is_some_and(|entry| {
            Arc::strong_count(entry) > 1
                || entry.get().is_some_and(|unpacked| Arc::strong_count(unpacked) > 1)
        });
        if used {
            return Ok(false);
        }
        known.remove(digest);
        let gone = self.partial();
        match fs::rename(self.tree(digest), &gone) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            Err(source) => return Err(Error::Io { doing: "remove an image", source }),
        }
        drop(known);
        remove(&gone).map_err(Error::io("remove an image"))?;
        Ok(true)
    }

    /// The images that are unpacked.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Digest>, Error> {
        names(&self.dir.join(TREES)).map_err(Error::io("list the images"))
    }

    /// Removes layers that no image on the disk was made of. Whether that could be done: not while one is pulled.
    ///
    /// # Errors
    /// When the directories cannot be read or a layer cannot be removed.
    pub fn sweep_layers(&self) -> Result<bool, Error> {
        let Ok(_alone) = self.layers.try_write() else { return Ok(false) };
        let mut used = HashSet::new();
        for digest in self.list()? {
            used.extend(self.about(&digest)?.into_iter().flat_map(|about| about.layers));
        }
        let layers = names(&self.dir.join(LAYERS)).map_err(Error::io("list the layers"))?;
        for digest in layers.iter().filter(|digest| !used.contains(digest)) {
            fs::remove_file(self.layer(digest)).map_err(Error::io("remove a layer"))?;
        }
        Ok(true)
    }

    async fn pull(&self, reference: &Reference, digest: &Digest) -> Result<Arc<Unpacked>, Error> {
        let _layers = self.layers.read().await;
        let reference = reference.pinned(*digest);
        let source = Source::of(&reference, &self.registry, &self.settings)?;
        let (found, manifest) = source.manifest(&reference).await?;
        if found != *digest {
            return Err(Error::Unsupported("an index in place of an image"));
        }
        let config = Config::parse(&source.small(&manifest.config).await?, manifest.layers.len())?;
        let files = match &source {
            Source::Registry(_, repository) => {
                self.fetch(*repository, &manifest).await?;
                manifest.layers.iter().map(|(blob, _)| self.layer(&blob.digest)).collect()
            }
            Source::Layout(layout) => manifest
                .layers
                .iter()
                .map(|(blob, _)| layout.path(&blob.digest))
                .collect::<Vec<_>>(),
        };
        let compressions = manifest.layers.iter().map(|(_, compression)| *compression);
        let layers = files.into_iter().zip(compressions).zip(config.diff_ids);
        let layers = layers.map(|((path, compression), diff_id)| (path, compression, diff_id));
        let about = About {
            process: config.process,
            layers: manifest.layers.iter().map(|(blob, _)| blob.digest).collect(),
        };
        self.unpack(digest, layers.collect(), about).await
    }

    /// Gets the layers that are not there.
    async fn fetch(&self, repository: Repository<'_>, manifest: &Manifest) -> Result<(), Error> {
        let missing: HashMap<Digest, Blob> = manifest
            .layers
            .iter()
            .map(|(blob, _)| (blob.digest, *blob))
            .filter(|(digest, _)| !self.layer(digest).exists())
            .collect();
        let mut missing = missing.into_values();
        let mut running = JoinSet::new();
        loop {
            while running.len() < LAYERS_AT_ONCE {
                let Some(blob) = missing.next() else { break };
                let (registry, partial) = (Arc::clone(&self.registry), Partial(self.partial()));
                let (host, name) = (repository.host.to_owned(), repository.name.to_owned());
                let layer = self.layer(&blob.digest);
                running.spawn(async move {
                    let repository = Repository { host: &host, name: &name };
                    source::fetch(&registry, repository, blob, &partial.0).await?;
                    fs::rename(&partial.0, layer).map_err(Error::io("name a layer"))
                });
            }
            match running.join_next().await {
                None => return Ok(()),
                Some(fetched) => fetched.map_err(|_| Error::Interrupted)??,
            }
        }
    }

    async fn unpack(
        &self,
        digest: &Digest,
        layers: Vec<(PathBuf, Compression, Digest)>,
        about: About,
    ) -> Result<Arc<Unpacked>, Error> {
        let (partial, tree) = (self.partial(), self.tree(digest));
        let cancel = Cancel::default();
        let cancelled = Arc::clone(&cancel.0);
        let unpacked = tokio::task::spawn_blocking(move || {
            let made = make_tree(&partial, &layers, &about, &cancelled).and_then(|()| {
                fs::rename(&partial, &tree).map_err(Error::io("name an unpacked image"))
            });
            if let Err(error) = made {
                let _ = remove(&partial);
                return Err(error);
            }
            Ok(Arc::new(Unpacked { root: tree.join(ROOT), process: about.process }))
        });
        // A panic is the decompressor's: only what it was fed can have led it there.
        unpacked.await.map_err(|_| Error::Invalid("a layer cannot be decompressed"))?
    }

    fn about(&self, digest: &Digest) -> Result<Option<About>, Error> {
        match fs::read(self.tree(digest).join(ABOUT)) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { doing: "read about an image", source }),
        }
    }

    fn tree(&self, digest: &Digest) -> PathBuf {
        self.dir.join(TREES).join(digest.hex())
    }

    fn layer(&self, digest: &Digest) -> PathBuf {
        self.dir.join(LAYERS).join(digest.hex())
    }

    fn partial(&self) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.dir.join(PARTIAL).join(number.to_string())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<Entry>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_tree(
    at: &Path,
    layers: &[(PathBuf, Compression, Digest)],
    about: &About,
    cancelled: &AtomicBool,
) -> Result<(), Error> {
    fs::create_dir(at).map_err(Error::io("make the directory of an image"))?;
    let mut unpacker = Unpacker::new(&at.join(ROOT), cancelled)?;
    for (path, compression, diff_id) in layers {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::NotFound),
            Err(source) => return Err(Error::Io { doing: "open a layer", source }),
        };
        unpacker.layer(file, *compression, diff_id)?;
    }
    let text = serde_json::to_vec(about)
        .map_err(|error| Error::Io { doing: "describe an image", source: error.into() })?;
    fs::write(at.join(ABOUT), text).map_err(Error::io("describe an image"))?;
    unpacker.finish()
}

fn names(dir: &Path) -> io::Result<Vec<Digest>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        found.extend(entry?.file_name().to_str().and_then(Digest::from_hex));
    }
    Ok(found)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
