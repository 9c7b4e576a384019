// Init, then one invocation after the other, until the server closes the channel.
//
// A handler of `awslambda.streamifyResponse` writes its answer to a stream. The answer of any other
// may come from a returned promise, from the callback, from `context.succeed` and its fellows, from
// an exception nobody caught, or from the event loop having nothing left to do. Each invocation
// takes the first one alone.

'use strict';

const channel = require('./channel.js');
const { fill, setUp: setUpContext } = require('./context.js');
const errors = require('./errors.js');
const { dropsCallbacks, load } = require('./handler.js');
const logs = require('./logs.js');
const { streamFor } = require('./stream.js');
const trace = require('./trace.js');

const { KIND } = channel;
// The statuses that AWS's runtime leaves with.
const STATUS = {
  CHANNEL_LOST: 1,
  INIT_FAILED: 1,
  UNSETTLED: 13,
  UNHANDLED_REJECTION: 128,
  UNCAUGHT: 129,
};

const EXIT_MESSAGE =
  'The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly ' +
  'caused by a Promise that was never settled. For more information, see ' +
  'https://nodejs.org/docs/latest/api/process.html#exit-codes';

let isListening = false;
let handler;
// What follows an answer.
let onAnswered = receiveNext;
const INIT = {
  onEmptyLoop: () => failInit(new errors.NodeJsExit(EXIT_MESSAGE), 'Uncaught Exception'),
  onFatal: (error) => failInit(error),
};
// What an empty event loop means at the moment.
let { onEmptyLoop } = INIT;
// What becomes of an error that nobody caught: fails the init or the invocation, then exits.
let { onFatal } = INIT;

/** Loads the handler that the environment names and serves until the channel closes. */
function run() {
  setUp();
  const root = process.env.LAMBDA_TASK_ROOT || process.cwd();
  load(root, process.env._HANDLER || '').then(
    (loaded) => {
      handler = loaded;
      channel.send(KIND.READY);
      serveNext();
    },
    (error) => failInit(error, 'Uncaught Exception'),
  );
}

/** Prepares the process as the environment says; what does not depend on it only the first time. */
function setUp() {
  logs.setUp();
  setUpContext();
  if (isListening) return;
  isListening = true;
  process.on('uncaughtException', (error) => {
    logs.logError('Uncaught Exception', error);
    onFatal(error, STATUS.UNCAUGHT);
  });
  process.on('unhandledRejection', (reason) => {
    const error = new errors.UnhandledPromiseRejection(String(reason));
    error.reason = reason;
    logs.logError('Unhandled Promise Rejection', error);
    onFatal(error, STATUS.UNHANDLED_REJECTION);
  });
  process.on('beforeExit', () => onEmptyLoop());
}

function failInit(error, heading) {
  if (heading) logs.logError(heading, error);
  channel.send(KIND.INIT_ERROR, JSON.stringify(errors.errorBody(error)));
  process.exit(STATUS.INIT_FAILED);
}

/** Goes on in a turn of its own, so that what the customer queued for this one still runs. */
function serveNext() {
  onEmptyLoop = () => {};
  setImmediate(onAnswered);
}

function receiveNext() {
  const invocation = receive();
  if (invocation === null) process.exit(0);
  serve(invocation);
}

/**
 * Loads and serves a handler of our own, with nobody to hear of it, so that a function finds what
 * it will need loaded and compiled.
 */
async function rehearse(root, name, calls, invocation) {
  setUp();
  handler = await load(root, name);
  for (let call = 0; call < calls; call++) {
    await new Promise((resolve) => {
      onAnswered = resolve;
      serve(invocation());
    });
  }
  onAnswered = receiveNext;
  ({ onEmptyLoop, onFatal } = INIT);
  handler = undefined;
  logs.current.requestId = undefined;
  logs.current.tenantId = undefined;
}

/** Without a channel there is nobody to answer and nothing to go on with. */
function receive() {
  try {
    return channel.receive();
  } catch (error) {
    logs.logError(error.constructor.name, error);
    return process.exit(STATUS.CHANNEL_LOST);
  }
}

function serve(invocation) {
  logs.current.requestId = invocation.requestId;
  logs.current.tenantId = invocation.tenantId;
  trace.set(invocation.traceId);

  const stream = streamFor(handler);
  if (stream) serveStream(invocation, stream);
  else serveWhole(invocation);
}

function serveWhole(invocation) {
  const answer = new Answer();
  onFatal = (error, status) => {
    answer.fatal(error);
    process.exit(status);
  };
  onEmptyLoop = () => answer.emptyLoop();
  try {
    const context = fill(dropsCallbacks ? {} : answer.callbackContext(), invocation);
    const event = JSON.parse(invocation.event);
    const result = dropsCallbacks
      ? handler(event, context)
      : handler(event, context, (error, value) => answer.callback(error, value));
    if (result && typeof result.then === 'function') {
      result.then((value) => answer.succeed(value), (error) => answer.fail(error));
    } else if (dropsCallbacks) {
      answer.succeed(result);
    }
  } catch (error) {
    answer.fail(error);
  }
}

/** One invocation of a handler that writes its answer to a stream. */
function serveStream(invocation, stream) {
  const answer = new StreamAnswer(stream);
  onFatal = (error, status) => answer.fail(error, () => process.exit(status));
  onEmptyLoop = () => answer.emptyLoop();
  // An error of the stream reaches the handler by its own calls, or fails the invocation here.
  stream.on('error', (error) => answer.failed(error));
  try {
    const context = fill({}, invocation);
    const result = handler(JSON.parse(invocation.event), stream, context);
    if (!result || typeof result.then !== 'function') {
      throw new errors.InvalidStreamingOperation(
        'Streaming does not support non-async handlers.',
      );
    }
    result.then((value) => answer.returned(value), (error) => answer.failed(error));
  } catch (error) {
    answer.failed(error);
  }
}

/**
 * The end of a streamed answer: given when the handler has returned and its stream has finished,
 * whichever comes last, so that nothing of an invocation runs on into the next.
 */
class StreamAnswer {
  constructor(stream) {
    this.stream = stream;
    this.given = false;
    this.hasReturned = false;
    stream.on('finish', () => this.endIfDone());
  }

  returned(value) {
    if (value !== undefined) console.warn('Streaming handlers ignore return values.');
    this.hasReturned = true;
    this.endIfDone();
  }

  endIfDone() {
    if (this.given || !this.hasReturned || !this.stream.writableFinished) return;
    this.given = true;
    channel.send(KIND.STREAM_END);
    serveNext();
  }

  failed(error) {
    if (this.given) return;
    logs.logError('Invoke Error', error);
    this.fail(error, serveNext);
  }

  /** Says why the answer ends here, after the piece that is being written, and then goes on. */
  fail(error, next) {
    if (this.given) return;
    this.given = true;
    onEmptyLoop = () => {};
    const say = () => {
      const kind = this.stream.begun ? KIND.STREAM_ERROR : KIND.ERROR;
      channel.send(kind, JSON.stringify(errors.errorBody(error)));
      next();
    };
    this.stream.settled.then(say, say);
    this.stream.destroy();
  }

  /** Nothing is left that could end the stream. */
  emptyLoop() {
    if (this.given) return;
    const error = new errors.NodeJsExit(EXIT_MESSAGE);
    logs.logError('Uncaught Exception', error);
    this.fail(error, () => process.exit(STATUS.UNSETTLED));
  }
}

/** One invocation's answer: the first of the ways to give it counts, the rest are ignored. */
class Answer {
  constructor() {
    this.given = false;
    this.sent = false;
    this.waitsForEmptyLoop = true;
  }

  /** The part of the context object with which handlers before Node.js 24 may answer. */
  callbackContext() {
    const answer = this;
    return {
      get callbackWaitsForEmptyEventLoop() {
        return answer.waitsForEmptyLoop;
      },
      set callbackWaitsForEmptyEventLoop(value) {
        answer.waitsForEmptyLoop = value;
      },
      succeed: (value) => answer.succeed(value),
      fail: (error) => answer.fail(error === undefined || error === null ? 'handled' : error),
      done: (error, value) =>
        error === undefined || error === null ? answer.succeed(value) : answer.fail(error),
    };
  }

  callback(error, value) {
    if (error !== undefined && error !== null) this.fail(error);
    else if (!this.waitsForEmptyLoop) this.succeed(value);
    else if (!this.given) {
      this.given = true;
      onEmptyLoop = () => this.sendResult(value);
    }
  }

  succeed(value) {
    if (this.given) return;
    this.given = true;
    this.sendResult(value);
  }

  fail(error) {
    if (this.given) return;
    this.given = true;
    logs.logError('Invoke Error', error);
    this.send(KIND.ERROR, JSON.stringify(errors.errorBody(error)));
    serveNext();
  }

  /** Nothing is left that could answer: `null`; since Node.js 24 an error that ends the process. */
  emptyLoop() {
    if (this.given) return;
    if (!dropsCallbacks) {
      this.succeed(null);
      return;
    }
    const error = new errors.NodeJsExit(EXIT_MESSAGE);
    logs.logError('Uncaught Exception', error);
    this.fatal(error);
    process.exit(STATUS.UNSETTLED);
  }

  /** For an error that was logged already and ends the process. */
  fatal(error) {
    if (!this.sent) this.send(KIND.ERROR, JSON.stringify(errors.errorBody(error)));
  }

  sendResult(value) {
    let text;
    try {
      text = JSON.stringify(value);
    } catch {
      const message = 'Unable to stringify response body';
      const error = dropsCallbacks ? new errors.JSONStringifyError(message) : new Error(message);
      this.given = false;
      this.fail(error);
      return;
    }
    // Functions and symbols, like undefined, have no JSON.
    this.send(KIND.RESPONSE, text === undefined ? 'null' : text);
    serveNext();
  }

  send(kind, text) {
    this.sent = true;
    channel.send(kind, text);
  }
}

module.exports = { rehearse, run };
