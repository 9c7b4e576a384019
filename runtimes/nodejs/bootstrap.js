// The program that a managed Node.js runtime starts. It prepares the process, loads the handler and
// serves invocations. `package.json` beside it says that these files are CommonJS: without it, a
// project that the data directory lies in could decide otherwise.

'use strict';

require('./gatemill/loop.js').run();
