//! The demo's own AWS client: requests signed with Signature Version 4, as any SDK would send them.

use bytes::Bytes;
use gatemill_wire::{
    OperationInfo,
    sigv4::{hex, hmac_sha256},
};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::time::timeout;

use super::{DemoError, failed};
use crate::{limits, server::Server};

// `gatemill dev` accepts any; these are the words that its documentation uses.
const ACCESS_KEY_ID: &str = "test";
const SECRET_ACCESS_KEY: &str = "test";

/// A client of the server that the demo runs.
pub(super) struct Client<'a> {
    server: &'a Server,
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

impl<'a> Client<'a> {
    pub(super) fn new(server: &'a Server) -> Self {
        let http = HttpClient::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self { server, http }
    }

    /// The account that the calls act in.
    pub(super) fn account(&self) -> &str {
        &self.server.configuration.account
    }

    /// The region that they are signed for.
    pub(super) fn region(&self) -> &str {
        &self.server.configuration.region
    }

    /// Calls an operation.
    ///
    /// # Errors
    /// With what the server answered, when it is no success.
    pub(super) async fn call(
        &self,
        operation: &OperationInfo,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, DemoError> {
        let wrong = |reason: String| DemoError::Request { what: operation.name.to_owned(), reason };
        let body = Bytes::from(body.map(Value::to_string).unwrap_or_default());
        let request =
            self.signed(operation, path, body).map_err(|error| wrong(error.to_string()))?;
        let (status, answer) = self.send(operation.name, request).await?;
        if !status.is_success() {
            return Err(wrong(format!("{status}: {}", String::from_utf8_lossy(&answer))));
        }
        serde_json::from_slice(&answer).map_err(|error| wrong(error.to_string()))
    }

    /// Posts a picture to a URL of the API, by its host name but at the server's address: names below `localhost` do
    /// not resolve on every machine.
    ///
    /// # Errors
    /// With what came back, when it is no 200.
    pub(super) async fn post_picture(
        &self,
        endpoint: &str,
        picture: &'static [u8],
    ) -> Result<Bytes, DemoError> {
        let what = "POST sample.jpg";
        let host = endpoint.trim_start_matches("http://");
        let request = Request::post(format!("{}/", self.server.url()))
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "image/jpeg")
            .body(Full::new(Bytes::from_static(picture)));
        let request = request.map_err(|error| failed(what, &error))?;
        match self.send(what, request).await? {
            (StatusCode::OK, answer) => Ok(answer),
            (status, answer) => {
                let answer = String::from_utf8_lossy(&answer);
                Err(DemoError::Request {
                    what: what.to_owned(),
                    reason: format!("{status}: {answer}"),
                })
            }
        }
    }

    async fn send(
        &self,
        what: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), DemoError> {
        let exchange = async {
            let response =
                self.http.request(request).await.map_err(|error| failed(what, &error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), limits::DEMO_ANSWER_BYTES_MAX);
            let body = body.collect().await.map_err(|error| failed(what, &error))?;
            Ok((status, body.to_bytes()))
        };
        timeout(limits::DEMO_CALL_MAX, exchange).await.map_err(|late| failed(what, &late))?
    }

    fn signed(
        &self,
        operation: &OperationInfo,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let now = self.server.clock.now().amz_date();
        let day = &now[..8];
        let host = self.server.address.to_string();
        let hash = sha256(&body);
        let signed_headers = "content-type;host;x-amz-date";
        let canonical = format!(
            "{}\n{path}\n\ncontent-type:application/json\nhost:{host}\nx-amz-date:{now}\n\n{signed_headers}\n{hash}",
            operation.method
        );
        let scope =
            format!("{day}/{}/{}/aws4_request", self.region(), operation.service.signing_name);
        let to_sign = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let parts = scope.split('/').map(str::as_bytes);
        let secret = format!("AWS4{SECRET_ACCESS_KEY}").into_bytes();
        let key = parts.fold(secret, |key, part| hmac_sha256(&key, part));
        let signature = hex(&hmac_sha256(&key, to_sign.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/{scope}, SignedHeaders={signed_headers}, \
             Signature={signature}"
        );
        Request::builder()
            .method(Method::from_bytes(operation.method.as_bytes())?)
            .uri(format!("{}{path}", self.server.url()))
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-amz-date", now)
            .header(header::AUTHORIZATION, authorization)
            .body(Full::new(body))
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}
