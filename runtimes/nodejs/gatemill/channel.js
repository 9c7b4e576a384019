// The framed channel to the server (protocol version 2) on descriptor 3.
//
// A frame is `u32 LE body length | u8 kind | body`. Reads and writes are blocking on purpose: a
// warm invocation then costs one of each, an answer is in the kernel before the process can exit,
// and the event loop knows nothing of the channel, so that it empties when the customer's work has.
// While the process waits, nothing of the customer's runs, just as an execution environment is
// frozen then. Only the pieces of a streamed answer are written aside: a caller may read them
// slowly, and the handler goes on meanwhile.

'use strict';

const fs = require('fs');

const DESCRIPTOR = 3;
const KIND = Object.freeze({
  INVOKE: 0x01,
  ASSIGN: 0x02,
  READY: 0x81,
  INIT_ERROR: 0x82,
  RESPONSE: 0x83,
  ERROR: 0x84,
  STREAM_BEGIN: 0x85,
  STREAM_CHUNK: 0x86,
  STREAM_END: 0x87,
  STREAM_ERROR: 0x88,
  PARKED: 0x89,
});

const HEADER_BYTES = 5;
// Enough for almost every event in one read; larger ones get a buffer of their own for that call.
const BUFFER_BYTES = 64 * 1024;
// The protocol's bound on one frame, far above AWS's payload quota of 6 MiB.
const FRAME_BYTES_MAX = 64 * 1024 * 1024;

const buffer = Buffer.alloc(BUFFER_BYTES);
// Frames that leave are laid out here, so that a warm call makes no buffer.
const outgoing = Buffer.alloc(BUFFER_BYTES);
// The most bytes that one unit of a string can take in UTF-8.
const UTF8_BYTES_MAX = 3;

// Where frames go: nowhere while our own code is rehearsed.
let out = DESCRIPTOR;

class ProtocolError extends Error {}

/** Waits for the next invocation. `null` when the server closed the channel between two. */
function receive() {
  const frame = receiveFrame(KIND.INVOKE);
  return frame && parse(frame, HEADER_BYTES + frame.readUInt32LE(0));
}

/** Says that this parked process waits, and waits for its assignment. `null` when the server closed the channel. */
function assigned() {
  send(KIND.PARKED);
  const frame = receiveFrame(KIND.ASSIGN);
  if (frame === null) return null;
  return JSON.parse(frame.toString('utf8', HEADER_BYTES, HEADER_BYTES + frame.readUInt32LE(0)));
}

/** The buffer that one frame of `kind` stands at the begin of; `null` at the channel's end. */
function receiveFrame(kind) {
  let filled = fs.readSync(DESCRIPTOR, buffer, 0, BUFFER_BYTES, null);
  if (filled === 0) return null;
  while (filled < HEADER_BYTES) filled += readMore(buffer, filled, BUFFER_BYTES);
  const length = buffer.readUInt32LE(0);
  if (length > FRAME_BYTES_MAX) throw new ProtocolError(`a frame of ${length} bytes`);
  if (buffer[4] !== kind) throw new ProtocolError(`a frame of kind ${buffer[4]}`);
  const end = HEADER_BYTES + length;
  if (filled > end) throw new ProtocolError('bytes after a frame');
  let frame = buffer;
  if (end > BUFFER_BYTES) {
    frame = Buffer.allocUnsafe(end);
    buffer.copy(frame, 0, 0, filled);
  }
  while (filled < end) filled += readMore(frame, filled, end);
  return frame;
}

function readMore(frame, from, to) {
  const count = fs.readSync(DESCRIPTOR, frame, from, to - from, null);
  if (count === 0) throw new ProtocolError('the channel ended inside a frame');
  return count;
}

function parse(frame, end) {
  const start = HEADER_BYTES + 4;
  const middle = start + frame.readUInt32LE(HEADER_BYTES);
  if (middle > end) throw new ProtocolError('the fields of an INVOKE frame pass its end');
  const fields = frame.toString('utf8', start, middle).split('\0');
  if (fields.length < 6) {
    throw new ProtocolError(`an INVOKE frame with ${fields.length} of 6 fields`);
  }
  return {
    requestId: fields[0],
    deadlineMs: Number(fields[1]),
    functionArn: fields[2],
    traceId: fields[3],
    clientContext: fields[4],
    cognitoIdentity: fields[5],
    // Servers that isolate tenants append a seventh field.
    tenantId: fields[6] || undefined,
    event: frame.toString('utf8', middle, end),
  };
}

/** Writes one whole frame of `text`; returns when the kernel has all of it. */
function send(kind, text = '') {
  const fits = HEADER_BYTES + text.length * UTF8_BYTES_MAX <= BUFFER_BYTES;
  const frame = fits ? outgoing : Buffer.allocUnsafe(HEADER_BYTES + Buffer.byteLength(text));
  const length = frame.write(text, HEADER_BYTES);
  frame.writeUInt32LE(length, 0);
  frame[4] = kind;
  writeWhole(out, frame, HEADER_BYTES + length);
}

/** An invocation, laid out and taken as one of the server's. What is sent goes nowhere until `unmute`. */
function rehearsal(fields, event) {
  if (out === DESCRIPTOR) out = fs.openSync('/dev/null', 'w');
  const start = HEADER_BYTES + 4;
  const middle = start + buffer.write(fields.join('\0'), start);
  buffer.writeUInt32LE(middle - start, HEADER_BYTES);
  return parse(buffer, middle + buffer.write(event, middle));
}

/** Ends the rehearsal. */
function unmute() {
  if (out !== DESCRIPTOR) fs.closeSync(out);
  out = DESCRIPTOR;
}

/** Writes one whole frame of `bytes` without holding the event loop; nothing else may write then. */
async function sendBytes(kind, bytes) {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + bytes.length);
  frame.writeUInt32LE(bytes.length, 0);
  frame[4] = kind;
  frame.set(bytes, HEADER_BYTES);
  for (let written = 0; written < frame.length; ) {
    try {
      written += await writeSome(frame.subarray(written));
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

function writeSome(bytes) {
  return new Promise((resolve, reject) => {
    fs.write(DESCRIPTOR, bytes, 0, bytes.length, null, (error, count) => {
      if (error) reject(error);
      else resolve(count);
    });
  });
}

const pause = new Int32Array(new SharedArrayBuffer(4));

/**
 * Writes `bytes` up to `end`. A process that the handler started may have made the pipe that it shares
 * with us non-blocking; there is no way to wait for room in it but to try again.
 */
function writeWhole(descriptor, bytes, end = bytes.length) {
  let written = 0;
  while (written < end) {
    try {
      written += fs.writeSync(descriptor, bytes, written, end - written);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(pause, 0, 0, 1);
    }
  }
}

module.exports = {
  KIND,
  ProtocolError,
  assigned,
  receive,
  rehearsal,
  send,
  sendBytes,
  unmute,
  writeWhole,
};
