// The AWS SDK for JavaScript v3 against a running server: ENDPOINT and RUNTIME come from the environment.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { LambdaClient, CreateFunctionCommand, waitUntilFunctionActiveV2, InvokeCommand, InvokeWithResponseStreamCommand, GetFunctionCommand, DeleteFunctionCommand, AddPermissionCommand } from "@aws-sdk/client-lambda";
import { ApiGatewayV2Client, CreateApiCommand, GetRoutesCommand } from "@aws-sdk/client-apigatewayv2";
import { CloudWatchClient, GetMetricDataCommand, GetMetricStatisticsCommand, ListMetricsCommand } from "@aws-sdk/client-cloudwatch";
import { CloudWatchLogsClient, FilterLogEventsCommand } from "@aws-sdk/client-cloudwatch-logs";
import { STSClient, GetCallerIdentityCommand } from "@aws-sdk/client-sts";

const { ENDPOINT: endpoint, RUNTIME: runtime } = process.env;
const options = { endpoint, region: "us-east-1", maxAttempts: 1, credentials: { accessKeyId: "test", secretAccessKey: "test" } };
const [lambda, gateway, logs, sts, metrics] = [LambdaClient, ApiGatewayV2Client, CloudWatchLogsClient, STSClient, CloudWatchClient].map((Client) => new Client(options));
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
// CloudWatch's client speaks CBOR, as no other here does.
const [EndTime, StartTime] = [new Date(Date.now() + 3_600_000), new Date(Date.now() - 3_600_000)];
const metric = { Namespace: "AWS/Lambda", MetricName: "Invocations", Dimensions: [{ Name: "FunctionName", Value: FunctionName }] };
const statistics = await metrics.send(new GetMetricStatisticsCommand({ ...metric, StartTime, EndTime, Period: 3600, Statistics: ["Sum"], ExtendedStatistics: ["p90"] }));
assert.equal(statistics.Datapoints.reduce((sum, point) => sum + point.Sum, 0), 3);
assert.ok(statistics.Datapoints[0].Timestamp instanceof Date && statistics.Datapoints[0].ExtendedStatistics.p90 === 1);
const data = await metrics.send(new GetMetricDataCommand({
  StartTime, EndTime,
  MetricDataQueries: [
    { Id: "m1", MetricStat: { Metric: metric, Period: 3600, Stat: "Sum" }, ReturnData: false },
    { Id: "e1", Expression: "IF(m1 > 0, m1 * 0.5)" },
  ],
}));
assert.equal(data.MetricDataResults[0].Values.reduce((sum, value) => sum + value, 0), 1.5);
const listed = await metrics.send(new ListMetricsCommand({ Namespace: "AWS/Lambda", Dimensions: [{ Name: "FunctionName", Value: FunctionName }] }));
assert.ok(listed.Metrics.some((one) => one.MetricName === "Duration"));
await assert.rejects(
  metrics.send(new GetMetricStatisticsCommand({ ...metric, StartTime, EndTime, Period: 90, Statistics: ["Sum"] })),
  (error) => error.name === "InvalidParameterValueException" && /multiple of 60/.test(error.message),
);
assert.equal((await sts.send(new GetCallerIdentityCommand({}))).Account, "000000000000");
await lambda.send(new DeleteFunctionCommand({ FunctionName }));
console.log("all checks passed");
