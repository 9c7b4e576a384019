//! Trust stores: the certificate authorities that vouch for the clients of a domain with mutual TLS.
//!
//! A store is known by its fingerprint, which a client's certificate carries from the handshake on: a request belongs to a
//! domain with mutual TLS only where its connection was proved against the very store that the domain has now. So neither
//! another host name on the connection nor a store that was changed meanwhile lets a client in.

use std::{fmt, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use crate::{
    Gateway,
    limits::{TRUSTSTORE_BYTES_MAX, TRUSTSTORE_CERTIFICATES_MAX},
};

/// What a connection to a domain has to be like.
#[derive(Debug, Clone, Default)]
pub struct DomainTls {
    /// The ARN of the certificate that its owner named.
    pub certificate: Option<String>,
    /// Whom its clients have to be known to.
    pub trust: Option<Arc<TrustStore>>,
}

/// What the gateway asks of the listener that ends TLS.
pub trait Certificates: Send + Sync {
    /// Whether there is a certificate that a client of this domain accepts.
    fn covers(&self, domain: &str) -> bool;

    /// Whether the certificate of this ARN covers the domain; `None` when the ARN names none of ours.
    fn named(&self, arn: &str, domain: &str) -> Option<bool>;
}

/// The authorities of one domain.
pub struct TrustStore {
    /// A hash of their certificates.
    pub(crate) fingerprint: Arc<str>,
    /// `None` when what was stored cannot be read any more: then nobody is let in.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl TrustStore {
    /// What checks a client's certificate.
    pub fn verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.verifier.clone()
    }

    /// What it is known by.
    pub fn fingerprint(&self) -> &Arc<str> {
        &self.fingerprint
    }

    /// The store of a text that was stored; where it cannot be read, one that lets nobody in.
    pub(crate) fn stored(pem: &str, fingerprint: &str) -> Self {
        let read = read(pem.as_bytes()).ok();
        let verifier = read.and_then(|read| read.store.verifier);
        Self { fingerprint: Arc::from(fingerprint), verifier }
    }
}

impl fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustStore").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// A trust store as it came, and what of it is not used.
#[derive(Debug)]
pub(crate) struct ReadStore {
    pub(crate) store: TrustStore,
    pub(crate) warnings: Vec<String>,
}

/// Why a text is no trust store.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Unfit {
    #[error("it is larger than 1 MB")]
    TooLarge,
    #[error("it has more than 1000 certificates")]
    TooMany,
    #[error("it has no certificate that can be used")]
    Empty,
}

/// Reads certificates in PEM. Those that cannot be used are left out and told of; one has to remain.
pub(crate) fn read(pem: &[u8]) -> Result<ReadStore, Unfit> {
    if pem.len() > TRUSTSTORE_BYTES_MAX {
        return Err(Unfit::TooLarge);
    }
    let (mut roots, mut warnings, mut all) = (RootCertStore::empty(), Vec::new(), Vec::new());
    for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        if index == TRUSTSTORE_CERTIFICATES_MAX {
            return Err(Unfit::TooMany);
        }
        let added = match certificate {
            Ok(certificate) => {
                all.extend_from_slice(&certificate);
                roots.add(certificate).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(reason) = added {
            warnings.push(format!("Certificate {} is not used: {reason}", index + 1));
        }
    }
    if roots.is_empty() {
        return Err(Unfit::Empty);
    }
    let hash = digest(&SHA256, &all);
    let fingerprint: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let verifier = verifier.map_err(|_| Unfit::Empty)?;
    let store = TrustStore { fingerprint: fingerprint.into(), verifier: Some(verifier) };
    Ok(ReadStore { store, warnings })
}

impl Gateway {
    /// What a connection to the domain of this name has to be like; `None` when it is nobody's.
    pub fn tls_of(&self, server_name: &str) -> Option<DomainTls> {
        Some(self.domains.find(server_name)?.tls.clone())
    }

    /// Says who ends TLS; until then no domain can have mutual TLS. Once, since it knows the gateway.
    pub fn set_certificates(&self, certificates: Arc<dyn Certificates>) {
        if self.certificates.set(certificates).is_err() {
            tracing::error!("the certificates of domains were set twice");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_certificate_is_no_store() {
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in [&b""[..], b"hello", &[0xFF; 10], broken] {
            assert_eq!(read(text).unwrap_err(), Unfit::Empty);
        }
        assert_eq!(read(&vec![b'\n'; TRUSTSTORE_BYTES_MAX + 1]).unwrap_err(), Unfit::TooLarge);
        let many = broken.repeat(TRUSTSTORE_CERTIFICATES_MAX + 1);
        assert_eq!(read(&many).unwrap_err(), Unfit::TooMany);
    }

    #[test]
    fn what_cannot_be_read_any_more_lets_nobody_in() {
        assert!(TrustStore::stored("", "f").verifier().is_none());
    }
}
