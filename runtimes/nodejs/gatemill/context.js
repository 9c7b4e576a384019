// The fields of the context object that do not depend on how the handler answers.

'use strict';

const W3C_FIELDS = ['traceparent', 'tracestate', 'baggage'];

// The same for every invocation of a process.
let environment;

/** Reads from the environment what it says of the function, before the function can change it. */
function setUp() {
  environment = {
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
  };
}

/** Adds AWS's fields for `invocation` to `context` and returns it. Throws on broken JSON. */
function fill(context, invocation) {
  const clientContext = parse(invocation.clientContext, 'ClientContext');
  const w3c = takeW3c(clientContext);
  const { deadlineMs } = invocation;
  return Object.assign(context, environment, {
    clientContext,
    identity: parse(invocation.cognitoIdentity, 'CognitoIdentity'),
    invokedFunctionArn: invocation.functionArn,
    awsRequestId: invocation.requestId,
    tenantId: invocation.tenantId,
    getRemainingTimeInMillis: () => deadlineMs - Date.now(),
    w3c: () => w3c,
  });
}

function parse(text, name) {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}

function takeW3c(clientContext) {
  const fields = {};
  if (clientContext && typeof clientContext === 'object' && 'w3c' in clientContext) {
    const source = clientContext.w3c;
    delete clientContext.w3c;
    for (const name of W3C_FIELDS) {
      if (source && typeof source[name] === 'string') fields[name] = source[name];
    }
  }
  return Object.freeze(fields);
}

module.exports = { fill, setUp };
