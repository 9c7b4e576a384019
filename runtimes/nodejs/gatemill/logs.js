// What the function prints and logs, in AWS's text and JSON formats.
//
// Every line is written at once and in full: what a function said before it died is there, and all
// of it is in the pipe before the answer is on the channel. A record of several lines stays one
// event because its inner line ends become carriage returns.

'use strict';

const util = require('util');
const { errorText, intoError } = require('./errors.js');
const { writeWhole } = require('./channel.js');

const STDOUT = 1;
const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
const METHODS = {
  trace: 'TRACE',
  debug: 'DEBUG',
  info: 'INFO',
  log: 'INFO',
  warn: 'WARN',
  error: 'ERROR',
  fatal: 'FATAL',
};

/** The invocation that is running; records are stamped with it. */
const current = { requestId: undefined, tenantId: undefined };

// Known when the function is.
let isJson = false;

function textRecord(level, params) {
  return `${new Date().toISOString()}\t${current.requestId}\t${level}\t${util.format(...params)}`;
}

function jsonRecord(level, params) {
  const record = { timestamp: new Date().toISOString(), level, requestId: current.requestId };
  if (current.tenantId !== undefined) record.tenantId = current.tenantId;
  if (params.length === 1) {
    record.message = params[0];
    try {
      return JSON.stringify(record, (_key, value) => withError(value));
    } catch {
      record.message = util.format(params[0]);
      return JSON.stringify(record);
    }
  }
  record.message = util.format(...params);
  const error = params.find((param) => param instanceof Error);
  if (error) Object.assign(record, errorFields(error));
  return JSON.stringify(record);
}

function errorFields(error) {
  return {
    errorType: (error.constructor && error.constructor.name) || 'UnknownError',
    errorMessage: error.message,
    stackTrace: typeof error.stack === 'string' ? error.stack.split('\n') : [],
  };
}

function withError(value) {
  return value instanceof Error ? Object.assign(errorFields(value), value) : value;
}

function write(level, params) {
  const record = isJson ? jsonRecord(level, params) : textRecord(level, params);
  writeWhole(STDOUT, Buffer.from(record.replace(/\n/g, '\r') + '\n'));
}

/** Replaces the console's methods, and the streams, whose own writes could still be under way. */
function setUp() {
  isJson = (process.env.AWS_LAMBDA_LOG_FORMAT || '').toUpperCase() === 'JSON';
  const wanted = LEVELS.indexOf((process.env.AWS_LAMBDA_LOG_LEVEL || '').toUpperCase());
  for (const [method, level] of Object.entries(METHODS)) {
    const shown = level === 'FATAL' || LEVELS.indexOf(level) >= wanted;
    console[method] = shown ? (...params) => write(level, params) : () => {};
  }
  replaceStream('stdout', 1);
  replaceStream('stderr', 2);
}

function replaceStream(name, descriptor) {
  let stream;
  const get = () => {
    stream = stream || synchronousStream(descriptor);
    return stream;
  };
  Object.defineProperty(process, name, { configurable: true, enumerable: true, get });
}

function synchronousStream(descriptor) {
  const { Writable } = require('stream');
  const stream = new Writable({
    decodeStrings: true,
    write(chunk, _encoding, done) {
      try {
        writeWhole(descriptor, chunk);
      } catch (error) {
        done(error);
        return;
      }
      done();
    },
  });
  // Like the stream that it stands for, it cannot be ended by the customer.
  stream.destroySoon = stream.destroy;
  stream._destroy = (error, done) => done(error);
  stream.fd = descriptor;
  stream._type = 'pipe';
  return stream;
}

/** Logs a failure the way AWS's runtime does, under a heading such as `Invoke Error`. */
function logError(heading, value) {
  const error = intoError(value);
  if (isJson) console.error(error);
  else console.error(heading, errorText(error));
}

module.exports = { current, logError, setUp };
