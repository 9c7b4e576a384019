//! `sdk-rust ENDPOINT RUNTIME ZIP NAME`: does with a function what a program does with it, and says in JSON what it was answered.

use std::time::Duration;

use aws_sdk_lambda::{
    Client, Config,
    client::Waiters,
    config::{BehaviorVersion, Credentials, Region},
    error::ProvideErrorMetadata,
    primitives::Blob,
    types::{
        Environment, FunctionCode, InvocationType, InvokeWithResponseStreamResponseEvent, LogType,
        Runtime,
    },
};
use serde_json::{Value, json};

type Error = Box<dyn std::error::Error>;

const WAIT: Duration = Duration::from_secs(30);

fn client(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, runtime, zip, name] = &arguments[..] else {
        return Err("sdk-rust ENDPOINT RUNTIME ZIP NAME".into());
    };
    let client = client(endpoint);
    let zip = Blob::new(std::fs::read(zip)?);
    let said = json!({
        "created": create(&client, name, runtime, zip).await?,
        "invoked": invoke(&client, name).await?,
        "streamed": stream(&client, name).await?,
        "versions": versions(&client, name).await?,
        "errors": errors(&client, name).await?,
        "deleted": client.delete_function().function_name(name).send().await?.status_code(),
    });
    println!("{said}");
    Ok(())
}

async fn create(client: &Client, name: &str, runtime: &str, zip: Blob) -> Result<Value, Error> {
    let made = client
        .create_function()
        .function_name(name)
        .runtime(Runtime::from(runtime))
        .handler("app.handler")
        .role("arn:aws:iam::000000000000:role/any")
        .environment(Environment::builder().variables("COLOUR", "blue").build())
        .code(FunctionCode::builder().zip_file(zip).build())
        .send()
        .await?;
    client.wait_until_function_active_v2().function_name(name).wait(WAIT).await?;
    let got = client.get_function().function_name(name).send().await?;
    let configuration = got.configuration().ok_or("no configuration")?;
    Ok(json!({
        "state": made.state().map(|state| state.as_str()), "sha": made.code_sha256(),
        "active": configuration.state().map(|state| state.as_str()), "same": configuration.code_sha256(),
        "memory": configuration.memory_size(), "timeout": configuration.timeout(),
        "architectures": configuration.architectures().iter().map(|one| one.as_str()).collect::<Vec<_>>(),
        "variables": configuration.environment().and_then(|environment| environment.variables()),
    }))
}

async fn invoke(client: &Client, name: &str) -> Result<Value, Error> {
    let call = |event: Value| {
        let payload = Blob::new(event.to_string());
        client.invoke().function_name(name).log_type(LogType::Tail).payload(payload).send()
    };
    let text = |payload: Option<&Blob>| -> Result<Value, Error> {
        Ok(serde_json::from_slice(payload.ok_or("no payload")?.as_ref())?)
    };
    let (good, bad) = (call(json!({"n": 1})).await?, call(json!({"fail": true})).await?);
    let later = client.invoke().function_name(name).invocation_type(InvocationType::Event);
    Ok(json!({
        "answer": text(good.payload())?, "status": good.status_code(), "version": good.executed_version(),
        "log": good.log_result().is_some(), "error": bad.function_error(), "failure": text(bad.payload())?,
        "later": later.payload(Blob::new("{}")).send().await?.status_code(),
    }))
}

async fn stream(client: &Client, name: &str) -> Result<Value, Error> {
    let payload = Blob::new(json!({"n": 2}).to_string());
    let mut answer =
        client.invoke_with_response_stream().function_name(name).payload(payload).send().await?;
    let (mut bytes, mut complete) = (Vec::new(), 0);
    while let Some(event) = answer.event_stream.recv().await? {
        match event {
            InvokeWithResponseStreamResponseEvent::PayloadChunk(chunk) => {
                bytes.extend(
                    chunk.payload().map(|payload| payload.as_ref().to_vec()).unwrap_or_default(),
                );
            }
            InvokeWithResponseStreamResponseEvent::InvokeComplete(_) => complete += 1,
            other => return Err(format!("what is {other:?}").into()),
        }
    }
    Ok(json!({"answer": serde_json::from_slice::<Value>(&bytes)?, "complete": complete}))
}

async fn versions(client: &Client, name: &str) -> Result<Value, Error> {
    for description in ["one", "two"] {
        client
            .update_function_configuration()
            .function_name(name)
            .description(description)
            .send()
            .await?;
        client.wait_until_function_updated_v2().function_name(name).wait(WAIT).await?;
        client.publish_version().function_name(name).send().await?;
        client.wait_until_published_version_active().function_name(name).wait(WAIT).await?;
    }
    let alias =
        client.create_alias().function_name(name).name("live").function_version("2").send().await?;
    let list = client.list_versions_by_function().function_name(name);
    let mut pages = list.into_paginator().page_size(1).items().send();
    let mut listed = Vec::new();
    while let Some(version) = pages.next().await {
        listed.push(version?.version().map(str::to_owned));
    }
    Ok(json!({"listed": listed, "alias": alias.alias_arn()}))
}

/// The types that the SDK made of errors, which other clients show as texts.
async fn errors(client: &Client, name: &str) -> Result<Value, Error> {
    let missing = client.get_function().function_name("nobody").send().await.unwrap_err();
    let twice = client
        .create_alias()
        .function_name(name)
        .name("live")
        .function_version("1")
        .send()
        .await
        .unwrap_err();
    let invalid = client
        .update_function_configuration()
        .function_name(name)
        .memory_size(1)
        .send()
        .await
        .unwrap_err();
    Ok(json!({
        "missing": missing.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()),
        "message": missing.message(),
        "twice": twice.as_service_error().is_some_and(|error| error.is_resource_conflict_exception()),
        "invalid": invalid.code(),
    }))
}
