//! A certificate with its key, as two files or as one folder of an ACME client.
//!
//! `NAME.crt` (or `NAME.pem`, `NAME.cert`) with `NAME.key`, or a folder `NAME` with `fullchain.pem` and `privkey.pem`, as
//! certbot has them. The certificate's file holds the chain, the server's own first.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use crate::limits::{CERTIFICATE_BYTES_MAX, CERTIFICATES_MAX};

/// Where a pair is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    certificate: PathBuf,
    key: PathBuf,
}

/// What a pair's files looked like: when they change, so does this.
pub(super) type Look = [Option<(SystemTime, u64, u64)>; 2];

/// A pair that was read.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    /// The names of hosts that it is for; the first label may be a star.
    pub(super) names: Vec<String>,
}

/// Why a pair cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    #[error("{} cannot be read", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is larger than {CERTIFICATE_BYTES_MAX} bytes", .path.display())]
    TooLarge { path: PathBuf },
    #[error("{} has no certificate in PEM", .path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} has no private key in PEM", .path.display())]
    NoKey { path: PathBuf },
    #[error("{} and its key do not go together, or are of a kind that is not supported", .path.display())]
    Unfit { path: PathBuf, source: rustls::Error },
    #[error("{} is no certificate for the names of hosts", .path.display())]
    NoNames { path: PathBuf },
    #[error("{} has more than {CERTIFICATES_MAX} certificates", .path.display())]
    TooMany { path: PathBuf },
}

/// The pairs of a directory, by name.
///
/// # Errors
/// When the directory cannot be read.
pub(super) fn find(directory: &Path) -> Result<BTreeMap<String, Place>, PairError> {
    let unreadable = |source| PairError::Unreadable { path: directory.to_owned(), source };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        let place = match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt" | "pem" | "cert") if path.is_file() => {
                Place { key: path.with_extension("key"), certificate: path.clone() }
            }
            _ if path.is_dir() => {
                Place { certificate: path.join("fullchain.pem"), key: path.join("privkey.pem") }
            }
            _ => continue,
        };
        // A folder's name has dots that are no extension's.
        let name = if path.is_dir() {
            path.file_name().and_then(|name| name.to_str())
        } else {
            Some(name)
        };
        let is_pair = place.certificate.is_file() && place.key.is_file();
        if let Some(name) = name.filter(|_| is_pair) {
            found.insert(name.to_owned(), place);
        }
        if found.len() > CERTIFICATES_MAX {
            return Err(PairError::TooMany { path: directory.to_owned() });
        }
    }
    Ok(found)
}

impl Place {
    /// What the files look like now.
    pub(super) fn look(&self) -> Look {
        use std::os::unix::fs::MetadataExt as _;
        [&self.certificate, &self.key].map(|path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
        })
    }

    /// Reads the files, and sees that they belong together.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub(super) fn read(&self) -> Result<Pair, PairError> {
        let path = || self.certificate.clone();
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(&bounded(&self.certificate)?).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| PairError::NoCertificate { path: path() })?;
        let key = PrivateKeyDer::from_pem_slice(&bounded(&self.key)?)
            .map_err(|_| PairError::NoKey { path: self.key.clone() })?;
        let names = names(&chain[0]).ok_or_else(|| PairError::NoNames { path: path() })?;
        let provider: &CryptoProvider = &aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, key, provider)
            .map_err(|source| PairError::Unfit { path: path(), source })?;
        Ok(Pair { key: Arc::new(key), names })
    }
}

/// The names of a certificate, in lower case. One for an address alone has none and can still be the default.
fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some(certificate.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

fn bounded(path: &Path) -> Result<Vec<u8>, PairError> {
    use io::Read as _;
    let unreadable = |source| PairError::Unreadable { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(CERTIFICATE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > CERTIFICATE_BYTES_MAX {
        return Err(PairError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}
