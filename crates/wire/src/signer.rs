//! Signature Version 4 of requests that we send: the other side of [`sigv4`](crate::sigv4), over the same canonical
//! request, so that what we sign is what we would accept.
//!
//! The signature stands in the `Authorization` header and covers the host, the type of the body and every `x-amz-*`
//! header. It signs whole bodies alone, and makes no presigned URLs.

use aws_lc_rs::digest;
use http::{
    HeaderValue,
    header::{AUTHORIZATION, HOST},
    request::Parts,
};

use crate::{
    Timestamp,
    sigv4::{Claim, canonical_request, hex, sign},
};

/// Whose key signs, and for what.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// The key's id.
    pub access_key_id: &'a str,
    /// The key.
    pub secret_access_key: &'a str,
    /// The token of temporary credentials.
    pub session_token: Option<&'a str>,
    /// The region of the scope.
    pub region: &'a str,
    /// The signing name of the service, such as `sqs`.
    pub service: &'a str,
}

impl std::fmt::Debug for Signer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("access_key_id", &self.access_key_id)
            .field("region", &self.region)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl Signer<'_> {
    /// Signs a request with this body: adds `Host` (from the URI, where it is missing), `X-Amz-Date`,
    /// `X-Amz-Content-Sha256`, the token, and `Authorization`.
    ///
    /// # Errors
    /// When the key or the token holds what no header can.
    pub fn sign(
        &self,
        parts: &mut Parts,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), http::header::InvalidHeaderValue> {
        let amz_date = now.amz_date();
        let payload_hash = hex(digest::digest(&digest::SHA256, body).as_ref());
        if let (false, Some(authority)) = (parts.headers.contains_key(HOST), parts.uri.authority())
        {
            parts.headers.insert(HOST, authority.as_str().parse()?);
        }
        parts.headers.insert("x-amz-date", amz_date.parse()?);
        parts.headers.insert("x-amz-content-sha256", payload_hash.parse()?);
        if let Some(token) = self.session_token {
            let mut token: HeaderValue = token.parse()?;
            token.set_sensitive(true);
            parts.headers.insert("x-amz-security-token", token);
        }
        let claim = self.claim(parts, now, amz_date);
        let canonical = canonical_request(&claim, parts, &payload_hash);
        let signature = hex(&sign(&claim, &canonical, self.secret_access_key));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}/{}/{}/aws4_request, SignedHeaders={}, Signature={signature}",
            self.access_key_id,
            claim.scope_date,
            self.region,
            self.service,
            claim.signed_headers.join(";"),
        );
        let mut authorization: HeaderValue = authorization.parse()?;
        authorization.set_sensitive(true);
        parts.headers.insert(AUTHORIZATION, authorization);
        Ok(())
    }

    fn claim(&self, parts: &Parts, now: Timestamp, amz_date: String) -> Claim {
        let is_signed =
            |name: &&str| matches!(*name, "host" | "content-type") || name.starts_with("x-amz-");
        let names = parts.headers.keys().map(http::HeaderName::as_str).filter(is_signed);
        let mut signed_headers: Vec<String> = names.map(str::to_owned).collect();
        signed_headers.sort();
        Claim {
            access_key_id: self.access_key_id.to_owned(),
            scope_date: amz_date.get(..8).unwrap_or_default().to_owned(),
            region: self.region.to_owned(),
            service: self.service.to_owned(),
            signed_headers,
            signature: String::new(),
            signed_at: now,
            amz_date,
            session_token: self.session_token.map(str::to_owned),
            expires_s: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigv4::SignatureError;

    fn signed(service: &str, uri: &str, body: &[u8]) -> Parts {
        let request =
            http::Request::post(uri).header("content-type", "text/plain").body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        let signer = Signer {
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: "secret",
            session_token: Some("token"),
            region: "eu-west-1",
            service,
        };
        signer.sign(&mut parts, body, Timestamp(1_795_000_000_000)).unwrap();
        assert!(!format!("{signer:?}{:?}", parts.headers).contains("\"token\""), "{signer:?}");
        parts
    }

    #[test]
    fn what_we_sign_we_accept() {
        for (service, uri) in [
            ("sqs", "http://127.0.0.1:9324/"),
            ("sqs", "http://127.0.0.1:9324/000000000000/a%20queue?b=%2B&a=1"),
            ("s3", "http://127.0.0.1:9000/bucket/a//b/../c%20d?list-type=2"),
        ] {
            let parts = signed(service, uri, b"body");
            let claim = Claim::read(&parts).unwrap();
            assert_eq!(
                (claim.service.as_str(), claim.session_token.as_deref()),
                (service, Some("token"))
            );
            assert_eq!(claim.verify(&parts, b"body", "secret"), Ok(()), "{uri}");
            assert_eq!(claim.verify(&parts, b"body", "other"), Err(SignatureError::Mismatch));
            assert_eq!(claim.verify(&parts, b"BODY", "secret"), Err(SignatureError::BodyHash));
        }
    }

    /// The figures are botocore's (`SigV4Auth` and `S3SigV4Auth`) for the same request.
    #[test]
    fn the_path_of_s3_is_signed_as_it_travels() {
        let one = signed("s3", "http://127.0.0.1:9000/bucket/a%20b", b"");
        let two = signed("sqs", "http://127.0.0.1:9000/bucket/a%20b", b"");
        let signature = |parts: &Parts| {
            let text = parts.headers[AUTHORIZATION].to_str().unwrap().to_owned();
            text.rsplit_once("Signature=").unwrap().1.to_owned()
        };
        assert_eq!(
            signature(&one),
            "5ad5de6e2a059e934747b199a6a6bda378fb41b1de20546241fcd6b06a3f4b13"
        );
        assert_eq!(
            signature(&two),
            "374dd82f89add4cd0f9b5be3beda63613546a496563d7bef1e753c0c8e32a87f"
        );
    }
}
