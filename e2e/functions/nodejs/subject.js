// Does what the event's `do` says; every runtime of the tests has a function that does the same.

'use strict';

let count = 0;

const deeds = {
  echo: (event) => (event.value === undefined ? null : event.value),
  fail: () => {
    throw new TypeError('no luck');
  },
  sleep: (event) =>
    new Promise((resolve) => setTimeout(() => resolve('slept'), event.seconds * 1000)),
  exit: (event) => process.exit(event.status),
  eat: () => {
    const hoard = [];
    for (;;) hoard.push(Buffer.alloc(8 << 20, 1));
  },
  big: (event) => 'x'.repeat(event.size),
  length: (event) => event.value.length,
  environment: () => ({ ...process.env, cwd: process.cwd() }),
  context: (event, context) => ({
    id: context.awsRequestId,
    name: context.functionName,
    version: context.functionVersion,
    arn: context.invokedFunctionArn,
    memory: context.memoryLimitInMB,
    group: context.logGroupName,
    stream: context.logStreamName,
    left: context.getRemainingTimeInMillis(),
    tenant: context.tenantId === undefined ? null : context.tenantId,
    custom: context.clientContext && context.clientContext.custom,
    title: context.clientContext && context.clientContext.client.app_title,
  }),
  print: () => {
    console.log('to stdout');
    console.error('to stderr');
    process.stdout.write('no line end');
    return 'printed';
  },
  count: () => (count += 1),
};

exports.handler = async (event, context) => deeds[event.do](event, context);

exports.stream = awslambda.streamifyResponse(async (event, stream) => {
  stream.write('first ');
  const piece = Buffer.alloc(1 << 16, 'x');
  for (let left = event.size; left > 0; left -= piece.length) {
    if (!stream.write(piece)) await new Promise((resolve) => stream.once('drain', resolve));
  }
  stream.end();
});
