// What went wrong, in AWS's words: error types and error bodies.

'use strict';

const { isNativeError } = require('util').types;

function runtimeError(name) {
  const type = `Runtime.${name}`;
  const error = class extends Error {};
  Object.defineProperty(error, 'name', { value: name });
  error.prototype.name = type;
  return error;
}

const CallbackHandlerDeprecated = runtimeError('CallbackHandlerDeprecated');
const HandlerNotFound = runtimeError('HandlerNotFound');
const ImportModuleError = runtimeError('ImportModuleError');
const InvalidStreamingOperation = runtimeError('InvalidStreamingOperation');
const JSONStringifyError = runtimeError('JSONStringifyError');
const MalformedHandlerName = runtimeError('MalformedHandlerName');
const NodeJsExit = runtimeError('NodeJsExit');
const UnhandledPromiseRejection = runtimeError('UnhandledPromiseRejection');
const UserCodeSyntaxError = runtimeError('UserCodeSyntaxError');

const UNREADABLE =
  'callback called with Error argument, but there was a problem while retrieving one or more of ' +
  'its message, name, and stack';

function isError(value) {
  if (isNativeError(value) || value instanceof Error) return true;
  return ['name', 'message', 'stack'].every((key) => value && typeof value[key] === 'string');
}

/** `value` itself when it is an error, else an error that says it. Never throws. */
function intoError(value) {
  try {
    return isError(value) ? value : new Error(String(value));
  } catch {
    return new Error(UNREADABLE);
  }
}

/** DEL may not stand in the header that AWS carries the type in; it is escaped everywhere. */
function escapeDelete(text) {
  return typeof text === 'string' ? text.replace(/\x7F/g, '%7F') : text;
}

/** The error object that the caller gets. Never throws, whatever the customer threw. */
function errorBody(value) {
  try {
    if (!isError(value)) {
      return { errorType: typeof value, errorMessage: String(value), trace: [] };
    }
    return {
      errorType: escapeDelete(value.name),
      errorMessage: escapeDelete(value.message),
      trace: (escapeDelete(value.stack) || '').split('\n'),
    };
  } catch {
    return {
      errorType: 'handled',
      errorMessage: UNREADABLE,
      trace: [],
    };
  }
}

/** The tab and JSON text that follow the first words of a logged error. */
function errorText(error) {
  try {
    return '\t' + JSON.stringify(error, (_key, value) => enumerable(value));
  } catch {
    return '\t' + JSON.stringify(errorBody(error));
  }
}

function enumerable(value) {
  if (!(value instanceof Error)) return value;
  const fields = { errorType: value.name, errorMessage: value.message, code: value.code };
  Object.assign(fields, value);
  if (typeof value.stack === 'string') fields.stack = value.stack.split('\n');
  return fields;
}

module.exports = {
  CallbackHandlerDeprecated,
  HandlerNotFound,
  ImportModuleError,
  InvalidStreamingOperation,
  JSONStringifyError,
  MalformedHandlerName,
  NodeJsExit,
  UnhandledPromiseRejection,
  UserCodeSyntaxError,
  errorBody,
  errorText,
  intoError,
};
