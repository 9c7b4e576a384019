// The program that a managed Node.js runtime starts. It prepares the process, loads the handler and
// serves invocations. `package.json` beside it says that these files are CommonJS: without it, a
// project that the data directory lies in could decide otherwise.
//
// With `--parked` it boots first and waits to be told for which function.

'use strict';

const { run } = require('./gatemill/loop.js');

if (process.argv[2] === '--parked') require('./gatemill/parked.js').wait().then(run);
else run();
