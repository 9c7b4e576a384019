//! Images that tests make, in a layout on the disk or held by a registry that the tests play themselves.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
};

use gatemill_image::{Digest, Images, Registries, Settings};

/// An image as its blobs: the manifest's digest, and everything by digest.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) manifest: Digest,
    pub(crate) layers: Vec<Digest>,
    pub(crate) blobs: HashMap<Digest, Vec<u8>>,
}

/// An uncompressed tar archive with files of this text.
pub(crate) fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, text) in files {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..108].copy_from_slice(b"0000755\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", text.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend(header);
        bytes.extend(text.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// An image of uncompressed layers for this machine.
pub(crate) fn image(layers: &[Vec<u8>]) -> Made {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let mut blobs = HashMap::new();
    let mut keep = |bytes: Vec<u8>| {
        let digest = Digest::of(&bytes);
        let size = bytes.len();
        blobs.insert(digest, bytes);
        (digest, size)
    };
    let sums: Vec<_> = layers.iter().map(|layer| format!("\"{}\"", Digest::of(layer))).collect();
    let config = format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{{"Entrypoint":["/run"],"Cmd":["h"]}},
        "rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        sums.join(",")
    );
    let (config, config_size) = keep(config.into_bytes());
    let layers: Vec<_> = layers.iter().map(|layer| keep(layer.clone())).collect();
    let described: Vec<_> = layers
        .iter()
        .map(|(digest, size)| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{size}}}"#
            )
        })
        .collect();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{config_size}}},
        "layers":[{}]}}"#,
        described.join(",")
    );
    let (manifest, _) = keep(manifest.into_bytes());
    Made { manifest, layers: layers.into_iter().map(|(digest, _)| digest).collect(), blobs }
}

/// Writes an image into a folder in the OCI layout.
pub(crate) fn write_layout(folder: &Path, tag: &str, made: &Made) {
    fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
    for (digest, bytes) in &made.blobs {
        fs::write(folder.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    }
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "digest":"{}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"{tag}"}}}}]}}"#,
        made.manifest,
        made.blobs[&made.manifest].len()
    );
    fs::write(folder.join("index.json"), index).unwrap();
}

pub(crate) fn settings() -> Settings {
    Settings { registries: Registries::Any, credentials: None, layouts: None }
}

pub(crate) fn open(dir: &Path, settings: Settings) -> Images {
    Images::open(&dir.join("images"), settings).unwrap()
}

/// A request.
pub(crate) struct Asked {
    /// Address and port of the registry itself.
    pub(crate) host: String,
    pub(crate) target: String,
    pub(crate) authorization: Option<String>,
}

/// What a request got: status, further header lines, body.
pub(crate) type Answer = (u16, String, Vec<u8>);

/// A registry of one repository, as bad as a test wants. Every request is one connection.
pub(crate) struct Played {
    pub(crate) host: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Played {
    pub(crate) fn new(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer, own) = (Arc::clone(&requests), Arc::new(answer), host.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer, own) = (Arc::clone(&seen), Arc::clone(&answer), own.clone());
                std::thread::spawn(move || serve(&stream, own, &seen, &*answer));
            }
        });
        Self { host, requests }
    }

    /// A registry that has this image under the tag `1`, in every repository.
    pub(crate) fn good(made: &Made) -> Self {
        let made = made.clone();
        Self::new(move |asked| good_answer(&made, &asked.target))
    }

    /// The targets that were asked for.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn uri(&self, rest: &str) -> gatemill_image::Reference {
        gatemill_image::Reference::parse(&format!("{}/{rest}", self.host)).unwrap()
    }
}

pub(crate) fn good_answer(made: &Made, target: &str) -> Answer {
    let last = target.rsplit('/').next().unwrap();
    let digest = if last == "1" { Some(made.manifest) } else { last.parse().ok() };
    match digest.and_then(|digest| made.blobs.get(&digest)) {
        Some(bytes) => (200, String::new(), bytes.clone()),
        None => (404, String::new(), b"{}".to_vec()),
    }
}

fn serve(
    stream: &TcpStream,
    host: String,
    seen: &Mutex<Vec<String>>,
    answer: &(dyn Fn(&Asked) -> Answer + Send + Sync),
) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut authorization = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            authorization = Some(value.to_owned());
        }
    }
    seen.lock().unwrap().push(target.clone());
    let (status, headers, body) = answer(&Asked { host, target, authorization });
    let length = if headers.contains("content-length") {
        String::new()
    } else {
        format!("content-length: {}\r\n", body.len())
    };
    let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{length}{headers}\r\n");
    // A client that hung up is a test of its own.
    let mut stream = stream;
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&body);
}
