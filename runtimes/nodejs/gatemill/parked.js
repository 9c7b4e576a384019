// Waiting, booted, for a function.
//
// Everything that takes time and does not depend on the function is done before: our modules are
// loaded by then, and a handler of ours (`rehearsal.mjs`) has been loaded and called as a function's
// will be, which starts the loader of ES modules and compiles what both need. What the function's
// process would have had from its start, environment and folder, it is given here.

'use strict';

const channel = require('./channel.js');
const { rehearse } = require('./loop.js');

// More make the first call no quicker.
const REHEARSALS = 10;
const FIELDS = [
  '00000000-0000-4000-8000-000000000000',
  '0',
  'arn:aws:lambda:us-east-1:000000000000:function:rehearsal',
  'Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0',
  '',
  '',
  '',
];
const EVENT = JSON.stringify({
  version: '2.0',
  rawPath: '/rehearsal',
  headers: { accept: '*/*', host: 'localhost' },
  requestContext: { http: { method: 'GET', path: '/rehearsal' }, timeEpoch: 0 },
  isBase64Encoded: false,
});

/** Resolves when this process is a function's; when it never will be, the process ends. */
async function wait() {
  await rehearse(__dirname, 'rehearsal.handler', REHEARSALS, () => channel.rehearsal(FIELDS, EVENT));
  channel.unmute();
  delete globalThis.awslambda;
  const assignment = channel.assigned();
  if (assignment === null) process.exit(0);
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, assignment.environment);
  process.argv.length = 2;
  process.chdir(process.env.LAMBDA_TASK_ROOT);
}

module.exports = { wait };
