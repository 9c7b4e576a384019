// Waiting, booted, for a function.
//
// Everything that takes time and does not depend on the function is done before: our modules are
// loaded by then, and the loader of ES modules, which starts on its first use, has been used. What
// the function's process would have had from its start, environment and folder, it is given here.

'use strict';

const channel = require('./channel.js');

/** Resolves when this process is a function's; when it never will be, the process ends. */
async function wait() {
  await import('./warm.mjs');
  const assignment = channel.assigned();
  if (assignment === null) process.exit(0);
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, assignment.environment);
  process.argv.length = 2;
  process.chdir(process.env.LAMBDA_TASK_ROOT);
}

module.exports = { wait };
