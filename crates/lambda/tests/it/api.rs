//! The control plane through its table: answers, states, errors, pages.

use serde_json::{Value, json};

use crate::{
    Case,
    world::{ROLE, World, base64, zip_of},
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "api::create_and_read", body: create_and_read },
    Case { name: "api::refused_requests", body: refused },
    Case { name: "api::updates", body: updates },
    Case { name: "api::lists_and_account", body: lists },
    Case { name: "api::names", body: names },
    Case { name: "api::one_of_two_creates_wins", body: race },
    Case { name: "api::the_address_of_the_code", body: location },
];

const FUNCTIONS: &str = "/2015-03-31/functions";
const ECHO: &[(&str, &str)] = &[("app.py", "def handler(e, c):\n    return e\n")];

fn request(name: &str) -> Value {
    json!({
        "FunctionName": name, "Runtime": "python3.12", "Role": ROLE, "Handler": "app.handler",
        "Code": { "ZipFile": base64(&zip_of(ECHO)) },
    })
}

fn with(mut request: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        request[key] = value.clone();
    }
    request
}

/// Replaces what differs from run to run.
fn masked(mut configuration: Value) -> String {
    for (member, value) in [("LastModified", "<time>"), ("RevisionId", "<uuid>")] {
        assert!(configuration[member].is_string(), "{configuration}");
        configuration[member] = json!(value);
    }
    configuration["CodeSize"] = json!(0);
    configuration["CodeSha256"] = json!("<hash>");
    configuration["RuntimeVersionConfig"]["RuntimeVersionArn"] = json!("<arn>");
    configuration.to_string()
}

fn create_and_read(world: &World) {
    let more = json!({
        "Timeout": 5, "MemorySize": 256, "Environment": { "Variables": {} }, "Tags": { "k": "v" },
    });
    let (status, created) = world.call("POST", FUNCTIONS, &with(request("f"), &more));
    assert_eq!(status, 201, "{created}");
    let begin = r#"{"FunctionName":"f","FunctionArn":"arn:aws:lambda:us-east-1:000000000000:function:f","Runtime":"python3.12","Role":"arn:aws:iam::000000000000:role/r","Handler":"app.handler","CodeSize":0,"Description":"","Timeout":5,"MemorySize":256,"LastModified":"<time>","CodeSha256":"<hash>","Version":"$LATEST","Environment":{"Variables":{}},"TracingConfig":{"Mode":"PassThrough"},"RevisionId":"<uuid>","#;
    let end = r#""PackageType":"Zip","Architectures":["x86_64"],"EphemeralStorage":{"Size":512},"SnapStart":{"ApplyOn":"None","OptimizationStatus":"Off"},"RuntimeVersionConfig":{"RuntimeVersionArn":"<arn>"},"LoggingConfig":{"LogFormat":"Text","LogGroup":"/aws/lambda/f"}}"#;
    let end = end.replace("x86_64", if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" });
    let pending = r#""State":"Pending","StateReason":"The function is being created.","StateReasonCode":"Creating","#;
    assert_eq!(masked(created.clone()), format!("{begin}{pending}{end}"));
    let active = world.settled("f");
    assert_ne!(active["RevisionId"], created["RevisionId"]);
    assert_eq!(active["LastModified"], created["LastModified"]);
    let settled = r#""State":"Active","LastUpdateStatus":"Successful","#;
    assert_eq!(masked(active.clone()), format!("{begin}{settled}{end}"));
    let (status, got) = world.call("GET", &format!("{FUNCTIONS}/f"), &Value::Null);
    assert_eq!((status, &got["Configuration"], &got["Tags"]), (200, &active, &json!({"k": "v"})));
    assert_eq!(got["Code"]["RepositoryType"], "S3");
    let (_, qualified) =
        world.call("GET", &format!("{FUNCTIONS}/f?Qualifier=%24LATEST"), &Value::Null);
    assert_eq!(
        qualified["Configuration"]["FunctionArn"],
        "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST"
    );
    let (status, body) = world.call("DELETE", &format!("{FUNCTIONS}/f"), &Value::Null);
    assert_eq!((status, body), (204, Value::Null));
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
    for (method, path) in
        [("GET", ""), ("GET", "/configuration"), ("DELETE", ""), ("GET", "/policy")]
    {
        let (status, code, message) =
            world.refused(method, &format!("{FUNCTIONS}/f{path}"), &Value::Null);
        assert_eq!(
            (status, code.as_str(), message),
            (404, "ResourceNotFoundException", format!("Function not found: {arn}"))
        );
    }
}

// tidy: table
fn refused(world: &World) {
    let invalid = "InvalidParameterValueException";
    let many: String = "x".repeat(4090);
    let reserved = "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: AWS_REGION, _HANDLER";
    let measured = format!(
        "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: {{\"AB\":\"{many}\"}}"
    );
    let enums = "Value python9.9 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, java25, python3.10, python3.11, java21, ruby3.3, ruby3.4, ruby3.2, python3.8, python3.9, java17, nodejs16.x, dotnet10, dotnet8, java11, dotnet6, nodejs18.x, provided.al2, java8.al2] or be a valid ARN";
    let long = "n".repeat(65);
    let too_long = format!(
        "1 validation error detected: Value '{long}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"
    );
    for (more, status, code, message) in [
        (json!({"Runtime": "python9.9"}), 400, invalid, enums),
        (
            json!({"Runtime": "python2.7"}),
            400,
            invalid,
            "The runtime parameter of python2.7 is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions.",
        ),
        (
            json!({"Runtime": "dotnet8"}),
            400,
            invalid,
            "The runtime dotnet8 is not installed on this host. Installed: ",
        ),
        (
            json!({"Runtime": null}),
            400,
            invalid,
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ),
        (json!({"FunctionName": long}), 400, invalid, too_long.as_str()),
        (
            json!({"Timeout": 901}),
            400,
            "ValidationException",
            "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900",
        ),
        (
            json!({"MemorySize": 64}),
            400,
            "ValidationException",
            "1 validation error detected: Value '64' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128",
        ),
        (
            json!({"MemorySize": 20000}),
            400,
            "ValidationException",
            "1 validation error detected: Value '20000' at 'memorySize' failed to satisfy constraint: Member must have value less than or equal to 10240",
        ),
        (
            json!({"Environment": {"Variables": {"AWS_REGION": "x", "_HANDLER": "y"}}}),
            400,
            "ValidationException",
            "",
        ),
        (
            json!({"Environment": {"Variables": {"AWS_REGION": "x", "AWS_SESSION_TOKEN": "y"}}}),
            400,
            invalid,
            &reserved.replace("_HANDLER", "AWS_SESSION_TOKEN"),
        ),
        (json!({"Environment": {"Variables": {"AB": many}}}), 400, invalid, measured.as_str()),
        (
            json!({"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "INFO"}}),
            400,
            invalid,
            "LogLevel is not supported when LogFormat is set to \"Text\". Remove LogLevel from your request or change the LogFormat to \"JSON\" and try again.",
        ),
        (
            json!({"Code": {"ZipFile": base64(b"no zip")}}),
            400,
            invalid,
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
        (json!({"Code": {}}), 400, invalid, "Please provide a source for function code."),
        (
            json!({"FunctionName": "f:1"}),
            400,
            invalid,
            "A function cannot be created with a version or an alias in its name: f has none yet.",
        ),
        (
            json!({"Code": {"ZipFile": base64(b"no zip"), "S3Key": "key"}}),
            400,
            invalid,
            "Please do not provide other FunctionCode parameters when providing a ZipFile.",
        ),
        (
            json!({"Code": {"S3Bucket": "bucket", "S3Key": "key"}}),
            400,
            invalid,
            "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist",
        ),
        (
            json!({"FunctionName": "arn:aws:lambda:eu-west-1:000000000000:function:f"}),
            404,
            "ResourceNotFoundException",
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
        ),
        (
            json!({"FunctionName": "111111111111:function:f"}),
            403,
            "AccessDeniedException",
            "User: arn:aws:iam::000000000000:root is not authorized to perform: lambda:CreateFunction",
        ),
        (
            json!({"Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:l:1"]}),
            400,
            "InvalidParameterValueException",
            "Layer version arn:aws:lambda:us-east-1:000000000000:layer:l:1 does not exist.",
        ),
        (
            json!({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}),
            501,
            "NotImplementedException",
            "VpcConfig",
        ),
        (
            json!({"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:q"}}),
            501,
            "NotImplementedException",
            "This server has no endpoint for sqs",
        ),
        (
            json!({"ImageConfig": {"Command": ["x"]}}),
            400,
            "InvalidParameterValueException",
            "ImageConfig is not supported for functions created with deployment packages.",
        ),
        (
            json!({"PackageType": "Image"}),
            400,
            "InvalidParameterValueException",
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
        ),
        (
            json!({"SnapStart": {"ApplyOn": "PublishedVersions"}, "EphemeralStorage": {"Size": 1024}}),
            400,
            "InvalidParameterValueException",
            "Ephemeral storage larger than 512 MB is not supported for SnapStart enabled functions.",
        ),
        (
            json!({"Architectures": ["arm64"]}),
            501,
            "NotImplementedException",
            "Architectures other than this host's is not built",
        ),
        (
            json!({"KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k"}),
            501,
            "NotImplementedException",
            "KMSKeyArn",
        ),
    ] {
        let (got, named, text) = world.refused("POST", FUNCTIONS, &with(request("f"), &more));
        assert_eq!((got, named.as_str()), (status, code), "{more}: {text}");
        assert!(text.starts_with(message), "{more}: {text}");
        let (status, _) = world.call("GET", &format!("{FUNCTIONS}/f"), &Value::Null);
        assert_eq!(status, 404, "nothing was created by {more}");
    }
    // What means "not used" is taken.
    let unused = json!({
        "Layers": [], "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}, "DeadLetterConfig": {"TargetArn": ""},
        "TracingConfig": {"Mode": "PassThrough"}, "SnapStart": {"ApplyOn": "None"}, "PackageType": "Zip", "Publish": false,
        "KMSKeyArn": "", "FileSystemConfigs": [],
    });
    let (status, created) = world.call("POST", FUNCTIONS, &with(request("f"), &unused));
    assert_eq!(status, 201, "{created}");
    let (status, code, text) = world.refused("POST", FUNCTIONS, &request("f"));
    assert_eq!(
        (status, code.as_str(), text.as_str()),
        (409, "ResourceConflictException", "Function already exist: f")
    );
}

fn updates(world: &World) {
    world.create("f", "python3.12", &[("app.py", "def handler(e, c):\n    return 1\n")]);
    assert_eq!(world.json("f", "{}").0, 1);
    let active = world.settled("f");
    let code = format!("{FUNCTIONS}/f/code");
    let zip = base64(&zip_of(&[(
        "app.py",
        "def handler(e, c):\n    return [2, c.memory_limit_in_mb]\n",
    )]));
    let (status, dry) = world.call("PUT", &code, &json!({"ZipFile": zip, "DryRun": true}));
    assert_eq!((status, &dry["RevisionId"]), (200, &active["RevisionId"]));
    assert_ne!(dry["CodeSha256"], active["CodeSha256"]);
    assert_eq!(world.settled("f"), active, "a dry run changes nothing");
    let stale = json!({"ZipFile": zip, "RevisionId": "0a0a0a0a-0000-0000-0000-000000000000"});
    let (status, named, text) = world.refused("PUT", &code, &stale);
    assert_eq!((status, named.as_str()), (412, "PreconditionFailedException"));
    assert_eq!(
        text,
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
    );
    let update = json!({"ZipFile": zip, "RevisionId": active["RevisionId"]});
    let (status, updated) = world.call("PUT", &code, &update);
    assert_eq!(status, 200, "{updated}");
    assert_eq!(
        (&updated["State"], &updated["LastUpdateStatus"]),
        (&json!("Active"), &json!("InProgress"))
    );
    assert_eq!(updated["LastUpdateStatusReasonCode"], "Creating");
    assert_eq!(updated["CodeSha256"], dry["CodeSha256"]);
    let settled = world.settled("f");
    assert_eq!(settled["LastUpdateStatus"], "Successful");
    assert_ne!(settled["RevisionId"], updated["RevisionId"]);
    assert_eq!(world.json("f", "{}").0, json!([2, "128"]));
    let configuration = format!("{FUNCTIONS}/f/configuration");
    let change = json!({
        "MemorySize": 300, "Description": "d", "Environment": {"Variables": {"AB": "c"}},
        "EphemeralStorage": {"Size": 600}, "LoggingConfig": {"LogGroup": "/mine"},
    });
    let (status, changed) = world.call("PUT", &configuration, &change);
    assert_eq!(
        (status, &changed["MemorySize"], &changed["Timeout"]),
        (200, &json!(300), &json!(10))
    );
    let settled = world.settled("f");
    assert_eq!(settled["Description"], "d");
    assert_eq!(settled["Environment"]["Variables"]["AB"], "c");
    assert_eq!(settled["EphemeralStorage"]["Size"], 600);
    assert_eq!(settled["LoggingConfig"], json!({"LogFormat": "Text", "LogGroup": "/mine"}));
    assert_eq!(world.json("f", "{}").0, json!([2, "300"]));
    let log = world.log("/mine", |log| log.contains("REPORT"));
    assert!(log.contains("Memory Size: 300 MB"), "{log}");
    let streams: Vec<_> = world.logs.0.lock().unwrap().keys().cloned().collect();
    let mine = streams.iter().find(|(group, _)| group == "/mine").unwrap();
    assert!(mine.1.contains("/f[$LATEST]"), "{mine:?}");
    let (status, named, _) = world.refused("PUT", &configuration, &json!({"Timeout": 0}));
    assert_eq!((status, named.as_str()), (400, "ValidationException"));
    let (status, noop) = world.call("PUT", &configuration, &json!({}));
    assert_eq!((status, &noop["LastUpdateStatus"]), (200, &json!("InProgress")));
    let after = world.settled("f");
    assert!(
        noop["RevisionId"] != settled["RevisionId"] && noop["RevisionId"] != after["RevisionId"]
    );
}

fn lists(world: &World) {
    for n in 0..53 {
        let (status, body) = world.call("POST", FUNCTIONS, &request(&format!("f{n:02}")));
        assert_eq!(status, 201, "{body}");
    }
    let (_, first) = world.call("GET", FUNCTIONS, &Value::Null);
    assert_eq!(first["Functions"].as_array().unwrap().len(), 50);
    assert!(first["Functions"][0].get("State").is_none());
    let marker = first["NextMarker"].as_str().unwrap();
    let (_, second) = world.call("GET", &format!("{FUNCTIONS}?Marker={marker}"), &Value::Null);
    let names: Vec<_> =
        second["Functions"].as_array().unwrap().iter().map(|f| &f["FunctionName"]).collect();
    assert_eq!(names, ["f50", "f51", "f52"]);
    assert!(second.get("NextMarker").is_none());
    let (_, all) =
        world.call("GET", &format!("{FUNCTIONS}?MaxItems=1&FunctionVersion=ALL"), &Value::Null);
    assert_eq!(
        all["Functions"][0]["FunctionArn"],
        "arn:aws:lambda:us-east-1:000000000000:function:f00:$LATEST"
    );
    assert_eq!(world.refused("GET", &format!("{FUNCTIONS}?Marker=%21"), &Value::Null).0, 400);
    let size = zip_of(ECHO).len();
    let account = |world: &World| world.call("GET", "/2016-08-19/account-settings", &Value::Null).1;
    let settings = account(world);
    assert_eq!(settings["AccountUsage"], json!({"TotalCodeSize": 53 * size, "FunctionCount": 53}));
    assert_eq!(settings["AccountLimit"]["ConcurrentExecutions"], 1000);
    assert_eq!(settings["AccountLimit"]["CodeSizeZipped"], 52_428_800);
    world.call("DELETE", &format!("{FUNCTIONS}/f00"), &Value::Null);
    assert_eq!(
        account(world)["AccountUsage"],
        json!({"TotalCodeSize": 52 * size, "FunctionCount": 52})
    );
}

fn names(world: &World) {
    world.create("f", "python3.12", ECHO);
    let encode = |text: &str| text.replace(':', "%3A").replace('$', "%24");
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
    for name in
        ["f", "000000000000:function:f", arn, &format!("{arn}:$LATEST"), "f:$LATEST", "function:f"]
    {
        let uri = format!("{FUNCTIONS}/{}/configuration", encode(name));
        let (status, body) = world.call("GET", &uri, &Value::Null);
        assert_eq!(status, 200, "{name}: {body}");
    }
    for (name, query, status, code, message) in [
        ("f:live", "", 404, "ResourceNotFoundException", format!("Function not found: {arn}:live")),
        ("f", "?Qualifier=7", 404, "ResourceNotFoundException", format!("Function not found: {arn}:7")),
        ("f:1", "?Qualifier=2", 400, "InvalidParameterValueException", "The derived qualifier from the function name does not match the specified qualifier.".to_owned()),
        ("arn:aws:lambda:eu-west-1:000000000000:function:f", "", 404, "ResourceNotFoundException", "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')".to_owned()),
        ("f", "?Qualifier=a%3Fb", 400, "ValidationException", "1 validation error detected: Value 'a?b' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ".to_owned()),
    ] {
        let uri = format!("{FUNCTIONS}/{}/configuration{query}", encode(name));
        let (got, named, text) = world.refused("GET", &uri, &Value::Null);
        assert_eq!((got, named.as_str()), (status, code), "{name}{query}: {text}");
        assert!(text.starts_with(&message), "{name}{query}: {text}");
    }
    for (query, status, text) in [
        (
            "?Qualifier=%24LATEST",
            400,
            "$LATEST version cannot be deleted without deleting the function.",
        ),
        ("?Qualifier=live", 400, "Deletion of aliases is not currently supported."),
        (
            "?Qualifier=3",
            404,
            "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f:3",
        ),
    ] {
        let (got, _, message) =
            world.refused("DELETE", &format!("{FUNCTIONS}/f{query}"), &Value::Null);
        assert_eq!((got, message.as_str()), (status, text));
    }
}

fn race(world: &World) {
    let body = request("f").to_string();
    let answers = world.run(async {
        let one = || world.send("POST", FUNCTIONS, &[], body.clone());
        tokio::join!(one(), one(), one(), one())
    });
    let (a, b, c, d) = answers;
    let mut statuses: Vec<u16> =
        [a, b, c, d].iter().map(|answer| answer.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409]);
}

fn location(world: &World) {
    world.create("f", "python3.12", ECHO);
    let (_, got) = world.call("GET", &format!("{FUNCTIONS}/f"), &Value::Null);
    let url = got["Code"]["Location"].as_str().unwrap().to_owned();
    let path = url.strip_prefix("http://localhost:4566/_gatemill/lambda/code/").unwrap();
    let (path, query) = path.split_once('?').unwrap();
    let fetch = |path: &str, query: &str| world.run(world.lambda.code_download(path, query));
    assert_eq!(fetch(path, query).unwrap(), zip_of(ECHO));
    let tampered = query.replace("expires=", "expires=1");
    for (path, query) in
        [(path, tampered.as_str()), (path, ""), ("x", query), (&path.replace("/f/", "/g/"), query)]
    {
        assert_eq!(fetch(path, query).unwrap_err().status(), 403, "{path} {query}");
    }
    world.clock.0.store(601_000, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(fetch(path, query).unwrap_err().to_string(), "the address has expired");
    world.clock.0.store(0, std::sync::atomic::Ordering::Relaxed);
    world.call("DELETE", &format!("{FUNCTIONS}/f"), &Value::Null);
    assert_eq!(fetch(path, query).unwrap_err().status(), 404);
}
