// The AWS SDK for JavaScript v3 against a running server: ENDPOINT and RUNTIME come from the environment.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { LambdaClient, CreateFunctionCommand, waitUntilFunctionActiveV2, InvokeCommand, InvokeWithResponseStreamCommand, GetFunctionCommand, DeleteFunctionCommand, AddPermissionCommand } from "@aws-sdk/client-lambda";
import { ApiGatewayV2Client, CreateApiCommand, GetRoutesCommand } from "@aws-sdk/client-apigatewayv2";
import { CloudWatchLogsClient, FilterLogEventsCommand } from "@aws-sdk/client-cloudwatch-logs";
import { STSClient, GetCallerIdentityCommand } from "@aws-sdk/client-sts";

const { ENDPOINT: endpoint, RUNTIME: runtime } = process.env;
const options = { endpoint, region: "us-east-1", maxAttempts: 1, credentials: { accessKeyId: "test", secretAccessKey: "test" } };
const [lambda, gateway, logs, sts] = [LambdaClient, ApiGatewayV2Client, CloudWatchLogsClient, STSClient].map((Client) => new Client(options));
const FunctionName = "from-javascript";

const made = await lambda.send(new CreateFunctionCommand({
  FunctionName, Runtime: runtime, Role: "arn:aws:iam::000000000000:role/e2e", Handler: "app.handler",
  Code: { ZipFile: readFileSync("function.zip") },
}));
assert.equal(made.$metadata.httpStatusCode, 201);
await waitUntilFunctionActiveV2({ client: lambda, maxWaitTime: 30, minDelay: 1 }, { FunctionName });

const answer = await lambda.send(new InvokeCommand({ FunctionName, Payload: JSON.stringify({ name: "sdk" }), LogType: "Tail" }));
assert.deepEqual(JSON.parse(Buffer.from(answer.Payload).toString()), { hello: "sdk" });
assert.match(Buffer.from(answer.LogResult, "base64").toString(), /REPORT RequestId/);

const stream = await lambda.send(new InvokeWithResponseStreamCommand({ FunctionName, Payload: JSON.stringify({ name: "stream" }), LogType: "Tail" }));
assert.equal(stream.ExecutedVersion, "$LATEST");
const [chunks, ends] = [[], []];
for await (const event of stream.EventStream) {
  if (event.PayloadChunk) chunks.push(event.PayloadChunk.Payload);
  if (event.InvokeComplete) ends.push(event.InvokeComplete);
}
assert.deepEqual(JSON.parse(Buffer.concat(chunks).toString()), { hello: "stream" });
assert.equal(ends.length, 1);
assert.equal(ends[0].ErrorCode, undefined);
assert.match(Buffer.from(ends[0].LogResult, "base64").toString(), /REPORT RequestId/);

const api = await gateway.send(new CreateApiCommand({ Name: FunctionName, ProtocolType: "HTTP", Target: made.FunctionArn }));
assert.ok(api.CreatedDate instanceof Date && !Number.isNaN(api.CreatedDate.getTime()));
const routes = await gateway.send(new GetRoutesCommand({ ApiId: api.ApiId }));
assert.equal(routes.Items[0].RouteKey, "$default");
await lambda.send(new AddPermissionCommand({
  FunctionName, StatementId: "api", Action: "lambda:InvokeFunction", Principal: "apigateway.amazonaws.com",
  SourceArn: `arn:aws:execute-api:us-east-1:000000000000:${api.ApiId}/*/*`,
}));
const page = await fetch(`${endpoint}/_aws/execute-api/${api.ApiId}/$default/`);
assert.deepEqual(await page.json(), { hello: "world" });

await assert.rejects(
  lambda.send(new GetFunctionCommand({ FunctionName: "absent" })),
  (error) => error.name === "ResourceNotFoundException" && error.$metadata.httpStatusCode === 404
    && error.message === "Function not found: arn:aws:lambda:us-east-1:000000000000:function:absent",
);
const deadline = Date.now() + 10_000;
for (;;) {
  try {
    const found = await logs.send(new FilterLogEventsCommand({ logGroupName: `/aws/lambda/${FunctionName}` }));
    if (found.events.some((event) => event.message.startsWith("REPORT"))) break;
  } catch (error) {
    assert.equal(error.name, "ResourceNotFoundException");
  }
  assert.ok(Date.now() < deadline, "the log never arrived");
}
assert.equal((await sts.send(new GetCallerIdentityCommand({}))).Account, "000000000000");
await lambda.send(new DeleteFunctionCommand({ FunctionName }));
console.log("all checks passed");
