//! Does what the event's `do` says; every runtime of the tests has a function that does the same.

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use lambda_runtime::{
    Context, Diagnostic, FunctionResponse, LambdaEvent, service_fn,
    streaming::{Body, Response, channel},
};
use serde_json::{Value, json};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// What the caller sees of an error.
#[derive(Debug)]
struct NoLuck;

impl From<NoLuck> for Diagnostic {
    fn from(_: NoLuck) -> Self {
        Self { error_type: "NoLuck".into(), error_message: "no luck".into() }
    }
}

type Answer = FunctionResponse<Value, Body>;

async fn handle(event: LambdaEvent<Value>) -> Result<Answer, NoLuck> {
    if event.payload["do"] == "stream" {
        let size = event.payload["size"].as_u64().unwrap_or_default();
        return Ok(FunctionResponse::StreamingResponse(Response::from(stream(size))));
    }
    act(event).await.map(FunctionResponse::BufferedResponse)
}

fn stream(size: u64) -> Body {
    let (mut sender, body) = channel();
    tokio::spawn(async move {
        let mut sent = sender.send_data("first ".into()).await;
        for _ in 0..size.div_ceil(1 << 16) {
            if sent.is_err() {
                return;
            }
            sent = sender.send_data(vec![b'x'; 1 << 16].into()).await;
        }
    });
    body
}

async fn act(event: LambdaEvent<Value>) -> Result<Value, NoLuck> {
    let (event, context) = event.into_parts();
    let number = |name: &str| event[name].as_f64().unwrap_or_default();
    Ok(match event["do"].as_str().unwrap_or_default() {
        "echo" => event["value"].clone(),
        "fail" => return Err(NoLuck),
        "sleep" => {
            tokio::time::sleep(Duration::from_secs_f64(number("seconds"))).await;
            "slept".into()
        }
        "exit" => std::process::exit(number("status") as i32),
        "eat" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; 8 << 20]);
            }
        }
        "big" => "x".repeat(number("size") as usize).into(),
        "length" => event["value"].as_str().unwrap_or_default().len().into(),
        "environment" => {
            let mut all: BTreeMap<String, String> = std::env::vars().collect();
            let cwd = std::env::current_dir().map(|cwd| cwd.display().to_string());
            all.insert("cwd".into(), cwd.unwrap_or_default());
            json!(all)
        }
        "context" => fields(&context),
        "print" => {
            println!("to stdout");
            eprintln!("to stderr");
            print!("no line end");
            let _ = std::io::stdout().flush();
            "printed".into()
        }
        "count" => (COUNT.fetch_add(1, Ordering::Relaxed) + 1).into(),
        other => panic!("unknown: {other}"),
    })
}

fn fields(context: &Context) -> Value {
    let left = context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
    let about = &context.env_config;
    let client = context.client_context.as_ref();
    json!({
        "id": context.request_id, "arn": context.invoked_function_arn, "left": left.as_millis() as u64,
        "name": about.function_name, "version": about.version, "memory": about.memory.to_string(),
        "group": about.log_group, "stream": about.log_stream, "tenant": context.tenant_id,
        "custom": client.map(|client| &client.custom), "title": client.map(|client| &client.client.app_title),
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::run(service_fn(handle)).await
}
