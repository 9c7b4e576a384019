// Answers that leave in pieces: `awslambda.streamifyResponse`, the response stream that such a
// handler is given, and `awslambda.HttpResponseStream`.
//
// Pieces are written by Node's thread pool, so that a slow reader at the other end holds the
// stream back (`write` says false, `drain` comes later) and not the handler's timers.

'use strict';

const { Writable } = require('stream');
const channel = require('./channel.js');
const { InvalidStreamingOperation } = require('./errors.js');

const { KIND } = channel;
// Where AWS's runtime keeps its marks on a function; frameworks set them themselves.
const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const RESPONSE = 'response';

const HTTP_CONTENT_TYPE = 'application/vnd.awslambda.http-integration-response';
// What stands between the JSON of an HTTP answer's head and its body.
const PRELUDE_END = Buffer.alloc(8);
// The protocol's bound on one piece.
const CHUNK_BYTES_MAX = 64 * 1024;

/** The stream that a handler writes its answer to. */
class ResponseStream extends Writable {
  constructor(highWaterMark) {
    super(highWaterMark === undefined ? {} : { highWaterMark });
    this._contentType = '';
    this._begun = false;
    // The write that the thread pool is busy with.
    this._writing = Promise.resolve();
  }

  /** Whether the caller knows of the answer already. */
  get begun() {
    return this._begun;
  }

  /** Resolves when no frame is half written. */
  get settled() {
    return this._writing;
  }

  setContentType(contentType) {
    if (this._begun) {
      throw new InvalidStreamingOperation('Cannot set content-type, too late.');
    }
    this._contentType = String(contentType);
  }

  write(chunk, encoding, callback) {
    return super.write(bytesOf(chunk), encoding, callback);
  }

  end(chunk, encoding, callback) {
    if (chunk === undefined || chunk === null || typeof chunk === 'function') {
      return super.end(chunk, encoding, callback);
    }
    return super.end(bytesOf(chunk), encoding, callback);
  }

  _write(chunk, _encoding, callback) {
    this._pass([this._head(), chunk], callback);
  }

  _writev(chunks, callback) {
    this._pass([this._head(), ...chunks.map(({ chunk }) => chunk)], callback);
  }

  _final(callback) {
    this._pass([this._head()], callback);
  }

  /** Begins the answer, once; gives the bytes that stand before the first of the handler's. */
  _head() {
    if (this._begun) return Buffer.alloc(0);
    let head = Buffer.alloc(0);
    // The name that AWS's runtime gives to this hook.
    if (typeof this._onBeforeFirstWrite === 'function') {
      const parts = [];
      this._onBeforeFirstWrite((part) => parts.push(Buffer.from(part)));
      head = Buffer.concat(parts);
    }
    this._begun = true;
    channel.send(KIND.STREAM_BEGIN, this._contentType);
    return head;
  }

  _pass(parts, callback) {
    const bytes = parts.length === 1 ? parts[0] : Buffer.concat(parts);
    this._writing = writeChunks(bytes);
    this._writing.then(() => callback(), callback);
  }
}

async function writeChunks(bytes) {
  for (let from = 0; from < bytes.length; from += CHUNK_BYTES_MAX) {
    await channel.sendBytes(KIND.STREAM_CHUNK, bytes.subarray(from, from + CHUNK_BYTES_MAX));
  }
}

/** What is neither text nor bytes is written as its JSON, as AWS's runtime does. */
function bytesOf(chunk) {
  if (typeof chunk === 'string' || ArrayBuffer.isView(chunk)) return chunk;
  return JSON.stringify(chunk);
}

/** Marks a handler that is given `(event, responseStream, context)`. */
function streamifyResponse(handler, options) {
  handler[STREAMING] = RESPONSE;
  if (options && options.highWaterMark !== undefined) {
    handler[HIGH_WATER_MARK] = parseInt(options.highWaterMark);
  }
  return handler;
}

class HttpResponseStream {
  /** Makes `stream` an HTTP answer: `prelude` is `{ statusCode, headers, cookies }`. */
  static from(stream, prelude) {
    stream.setContentType(HTTP_CONTENT_TYPE);
    const head = JSON.stringify(prelude);
    stream._onBeforeFirstWrite = (write) => {
      write(head);
      write(PRELUDE_END);
    };
    return stream;
  }
}

function defineGlobal() {
  globalThis.awslambda = { streamifyResponse, HttpResponseStream };
}

/** The response stream for a handler that wants one, else `null`. */
function streamFor(handler) {
  return handler[STREAMING] === RESPONSE ? new ResponseStream(handler[HIGH_WATER_MARK]) : null;
}

function isStreaming(handler) {
  return handler[STREAMING] === RESPONSE;
}

module.exports = { defineGlobal, isStreaming, streamFor };
