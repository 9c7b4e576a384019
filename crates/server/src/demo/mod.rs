//! `gatemill demo`: a real function behind a real URL, through nothing but the server's own AWS API.
//!
//! The example is `examples/watermark`, embedded so that the demo works from anywhere. Every step is what a person
//! would do with pip, the AWS CLI and curl, and at the end those commands are printed to go on with. Nothing here has
//! a way into the server that its users do not have.

mod client;
mod package;
mod progress;

use std::{
    fs, os::unix::fs::DirBuilderExt as _, path::Path, path::PathBuf, sync::Arc, time::Duration,
    time::Instant,
};

use bytes::Bytes;
use gatemill_api::{apigatewayv2, lambda};
use gatemill_wire::{Entropy, Operation as _};
use serde_json::{Value, json};

use crate::{clock::SystemEntropy, error::Error, limits, output, server::Server};
use client::Client;
use progress::Progress;

const NAME: &str = "watermark";
/// Where the picture with the mark is written.
const RESULT: &str = "watermarked.jpg";
/// What is sent through the URL.
const SAMPLE: (&str, &[u8]) =
    ("sample.jpg", include_bytes!("../../../../examples/watermark/sample.jpg"));
/// The least event that the function understands, to invoke it with.
const EVENT: (&str, &[u8]) = ("event.json", br#"{"requestContext":{"http":{"method":"GET"}}}"#);

/// A step of the demo that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The data directory has something in it.
    #[error(
        "the demo starts on an empty data directory, and {} is none; choose another with --data-dir DIR, or leave it \
         out for a temporary one", .dir.display()
    )]
    NotEmpty { dir: PathBuf },
    /// No interpreter for the example.
    #[error(
        "the demo needs Python {} to {}, and this machine has {found}; install one (Debian: apt install python3 \
         python3-pip), or name its directory with --runtime-dir DIR",
        package::PYTHON_MIN,
        package::PYTHON_MAX
    )]
    NoPython { found: String },
    /// The interpreter has no pip.
    #[error("{} has no pip to package the example with; install it (Debian: apt install python3-pip)", .python.display())]
    NoPip { python: PathBuf },
    /// pip failed.
    #[error(
        "pip could not install the example's requirements; it needs the network or a local index. It said:\n{said}"
    )]
    Pip { said: String },
    /// A file could not be written or read.
    #[error("cannot {doing} {}", .path.display())]
    File { doing: &'static str, path: PathBuf, source: std::io::Error },
    /// The package could not be made.
    #[error("cannot make the package: {reason}")]
    Package { reason: String },
    /// A request did not get the answer that it should have.
    #[error("{what}: {reason}")]
    Request { what: String, reason: String },
}

/// Deploys the example, calls it, and says how to go on.
///
/// # Errors
/// The step that failed, and what to do.
pub(crate) async fn run(server: Arc<Server>) -> Result<(), Error> {
    story(&server).await.map_err(Error::Demo)
}

/// A directory for a demo that was given none; kept, since the result is in it.
///
/// # Errors
/// When the system's directory for temporary files cannot be written.
pub(crate) fn temporary_directory() -> Result<PathBuf, Error> {
    let parent = std::env::temp_dir();
    let entropy: &dyn Entropy = &SystemEntropy;
    let dir = parent.join(format!("gatemill-demo-{}", entropy.id(10)));
    let made = fs::DirBuilder::new().mode(0o700).create(&dir);
    made.map_err(|source| Error::DataDirectory { dir: parent, source })?;
    Ok(dir)
}

/// Refuses a directory with something in it.
///
/// # Errors
/// When it has.
pub(crate) fn check_empty(dir: &Path) -> Result<(), Error> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(false) => Err(Error::Demo(DemoError::NotEmpty { dir: dir.to_owned() })),
        _ => Ok(()),
    }
}

async fn story(server: &Server) -> Result<(), DemoError> {
    let progress = Progress::new();
    let dir = server.configuration.data_dir.join("demo");
    let pack = package::choose_python(&server.runtimes.list())?;

    let step = progress.step(format!("packaging {NAME} with pip for {}", pack.name));
    let zip = package::build(&pack, &dir).await?;
    step.done(&format!("{:.1} MB", megabytes(zip.len())));

    let client = Client::new(server);
    let function = create_function(&client, &progress, &pack.name, &zip).await?;
    let api = create_api(&client, &progress, &function).await?;
    let marked = call(&client, &progress, &api).await?;

    let dir = &server.configuration.data_dir;
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
    for (name, bytes) in [(RESULT, &marked[..]), SAMPLE, EVENT] {
        write(&dir.join(name), bytes)?;
    }
    let text = farewell(server, &api, &dir);
    output::print(&text).map_err(|error| failed("say how to go on", &error))
}

/// The API as a caller needs it.
struct Api {
    id: String,
    endpoint: String,
}

async fn create_function(
    client: &Client<'_>,
    progress: &Progress,
    runtime: &str,
    zip: &[u8],
) -> Result<String, DemoError> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let create = lambda::CreateFunction::INFO;
    let step = progress.step(format!("{}: {NAME}", create.name));
    let request = json!({
        "FunctionName": NAME,
        "Runtime": runtime,
        "Handler": "app.handler",
        "Role": format!("arn:aws:iam::{}:role/{NAME}", client.account()),
        "MemorySize": 512,
        "Timeout": 15,
        "Code": { "ZipFile": STANDARD.encode(zip) },
    });
    let created = client.call(create, create.uri, Some(&request)).await?;
    wait_until_active(client).await?;
    step.done("it is active");
    Ok(text(&created, "FunctionArn"))
}

/// Asks until the function is there, as `aws lambda wait function-active-v2` does.
async fn wait_until_active(client: &Client<'_>) -> Result<(), DemoError> {
    let get = lambda::GetFunctionConfiguration::INFO;
    let path = get.uri.replace("{FunctionName}", NAME);
    let give_up = Instant::now() + limits::DEMO_ACTIVE_MAX;
    let mut wait = Duration::from_millis(5);
    loop {
        let configuration = client.call(get, &path, None).await?;
        match configuration["State"].as_str() {
            Some("Active") => return Ok(()),
            Some("Pending") if Instant::now() < give_up => {}
            state => {
                let reason = format!("the function is {state:?}: {}", configuration["StateReason"]);
                return Err(DemoError::Request { what: get.name.to_owned(), reason });
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_millis(200));
    }
}

async fn create_api(
    client: &Client<'_>,
    progress: &Progress,
    function: &str,
) -> Result<Api, DemoError> {
    let create = apigatewayv2::CreateApi::INFO;
    let step = progress.step(format!("{}: {NAME}", create.name));
    let request = json!({ "name": NAME, "protocolType": "HTTP", "target": function });
    let created = client.call(create, create.uri, Some(&request)).await?;
    let api = Api { id: text(&created, "apiId"), endpoint: text(&created, "apiEndpoint") };
    step.done(&api.endpoint);

    let permit = lambda::AddPermission::INFO;
    let step = progress.step(format!("{}: the API may invoke the function", permit.name));
    let source = ["arn:aws:execute-api", client.region(), client.account(), &api.id].join(":");
    let request = json!({
        "StatementId": "demo-api",
        "Action": "lambda:InvokeFunction",
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": format!("{source}/*"),
    });
    let path = permit.uri.replace("{FunctionName}", NAME);
    client.call(permit, &path, Some(&request)).await?;
    step.done(&format!("{source}/*"));
    Ok(api)
}

async fn call(client: &Client<'_>, progress: &Progress, api: &Api) -> Result<Bytes, DemoError> {
    let what = "POST sample.jpg through the URL";
    let step = progress.step(what.to_owned());
    let began = Instant::now();
    let marked = client.post_picture(&api.endpoint, SAMPLE.1).await?;
    let cold = began.elapsed();
    // A JPEG starts with these two bytes; anything else is no picture.
    if !marked.starts_with(&[0xff, 0xd8]) || marked == SAMPLE.1 {
        let reason = "the answer is no marked JPEG".to_owned();
        return Err(DemoError::Request { what: what.to_owned(), reason });
    }
    let began = Instant::now();
    client.post_picture(&api.endpoint, SAMPLE.1).await?;
    let warm = began.elapsed();
    step.done(&format!("{} ms with a cold start, {} ms warm", cold.as_millis(), warm.as_millis()));
    Ok(marked)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    fs::write(path, bytes).map_err(|source| DemoError::File {
        doing: "write",
        path: path.to_owned(),
        source,
    })
}

/// What to go on with. Every line works with versions 1 and 2 of the AWS CLI, unless it says otherwise.
fn farewell(server: &Server, api: &Api, dir: &Path) -> String {
    let url = server.url();
    let region = &server.configuration.region;
    let file = |name: &str| dir.join(name).display().to_string();
    let (result, sample, event) = (file(RESULT), file(SAMPLE.0), file(EVENT.0));
    let Api { id, endpoint } = api;
    format!(
        "
The picture with the mark:
    {result}

The function's URL (a browser gets a page to try it from):
    {endpoint}/
    {url}/_aws/execute-api/{id}/$default/    where the name above does not resolve

Go on with:
    curl --data-binary @{sample} -H 'content-type: image/jpeg' -o mine.jpg \\
        '{endpoint}/?text=mine'

    export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION={region}
    aws --endpoint-url {url} lambda invoke --function-name {NAME} \\
        --payload fileb://{event} answer.json
    aws --endpoint-url {url} logs tail /aws/lambda/{NAME} --follow    (AWS CLI 2)
    aws --endpoint-url {url} logs filter-log-events --log-group-name /aws/lambda/{NAME}

"
    )
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_default().to_owned()
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> DemoError {
    DemoError::Request { what: what.to_owned(), reason: error.to_string() }
}

#[allow(clippy::cast_precision_loss, reason = "it is shown with one digit")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
