// The variable that holds the trace header of the call that runs.
//
// The C library keeps every value that a variable ever had: with a new header for each call that is about 200 bytes a
// call, for ever. So `process.env` is a proxy over Node's own, and this one variable is ours: the function, and the
// programs that it starts with `child_process`, find the header of every call. Worker threads and native code, which
// read the variables of the process itself, learn of it where the call is sampled; nobody records the others.
//
// A proxy cannot be cloned, so `structuredClone(process.env)` fails; `structuredClone({ ...process.env })` does not.

'use strict';

const { inspect } = require('util');

const VARIABLE = '_X_AMZN_TRACE_ID';
const SAMPLED = 'Sampled=1';

// Node's own.
const real = process.env;
let header = real[VARIABLE];
// Whether the process itself has it, too.
let told = header !== undefined;

/** The function's own word, which goes where it always went. */
function assign(change) {
  const done = change();
  header = real[VARIABLE];
  told = header !== undefined;
  return done;
}

const traps = {
  get: (_shown, name) => (name === VARIABLE ? header : real[name]),
  has: (_shown, name) => (name === VARIABLE ? header !== undefined : name in real),
  ownKeys() {
    const names = Reflect.ownKeys(real);
    // A worker thread that shares the variables may have set it.
    if (header !== undefined && !names.includes(VARIABLE)) names.push(VARIABLE);
    return names;
  },
  getOwnPropertyDescriptor(_shown, name) {
    if (name !== VARIABLE) return Reflect.getOwnPropertyDescriptor(real, name);
    if (header === undefined) return undefined;
    return { value: header, writable: true, enumerable: true, configurable: true };
  },
  set(_shown, name, value, receiver) {
    // Of an object that merely inherits, the property is its own.
    const holder = receiver === environment ? real : receiver;
    const change = () => Reflect.set(real, name, value, holder);
    return name === VARIABLE && holder === real ? assign(change) : change();
  },
  defineProperty(_shown, name, descriptor) {
    const change = () => Reflect.defineProperty(real, name, descriptor);
    return name === VARIABLE ? assign(change) : change();
  },
  deleteProperty(_shown, name) {
    const change = () => Reflect.deleteProperty(real, name);
    return name === VARIABLE ? assign(change) : change();
  },
  // Variables can always be added.
  preventExtensions: () => false,
};

// What is printed in place of the proxy.
const shown = Object.create(Object.getPrototypeOf(real), {
  [inspect.custom]: { configurable: true, value: () => ({ ...environment }) },
});
const environment = new Proxy(shown, traps);
process.env = environment;

/** Puts the header where tracing libraries look for it; an empty one takes the last away. */
function set(value) {
  if (value.includes(SAMPLED)) {
    real[VARIABLE] = value;
    told = true;
  } else if (told) {
    delete real[VARIABLE];
    told = false;
  }
  header = value || undefined;
  if (process.env === environment) return;
  // The function put an object of its own in the place.
  if (value) process.env[VARIABLE] = value;
  else delete process.env[VARIABLE];
}

module.exports = { set };
