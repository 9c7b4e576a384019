// From the handler's name to the function, with AWS's error for every way that fails.

'use strict';

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');
const errors = require('./errors.js');
const { defineGlobal, isStreaming } = require('./stream.js');

// AWS's runtime is an `index.mjs`; a missing module's "Require stack" ends in its path.
const customerRequire = createRequire(path.join(path.dirname(__dirname), 'index.mjs'));

/** The major version of the runtime that was asked for, whichever interpreter stands in for it. */
function runtimeMajor() {
  const match = /^AWS_Lambda_nodejs(\d+)\./.exec(process.env.AWS_EXECUTION_ENV || '');
  return Number(match ? match[1] : process.versions.node.split('.')[0]);
}

const dropsCallbacks = runtimeMajor() >= 24;

/** The function that the handler string `folder/file.export.nested` names. */
async function load(root, name) {
  if (name.includes('..')) {
    throw new errors.MalformedHandlerName(
      `'${name}' is not a valid handler name. Use absolute paths when specifying root ` +
        'directories in handler names.',
    );
  }
  const base = path.basename(name);
  const match = /^([^.]*)\.(.*)$/.exec(base);
  if (!match) throw new errors.MalformedHandlerName('Bad handler');
  const folder = name.slice(0, name.indexOf(base));
  defineGlobal();
  const exported = await loadModule(root, folder, match[1]);
  return check(find(exported, match[2]), name);
}

function check(handler, name) {
  if (!handler) throw new errors.HandlerNotFound(`${name} is undefined or not exported`);
  if (typeof handler !== 'function') throw new errors.HandlerNotFound(`${name} is not a function`);
  if (dropsCallbacks && !isStreaming(handler) && handler.length >= 3) {
    throw new errors.CallbackHandlerDeprecated(
      'ERROR: AWS Lambda has removed support for callback-based function handlers starting ' +
        'with Node.js 24. You need to modify this function to use a supported handler signature ' +
        'to use Node.js 24 or later. For more information see ' +
        'https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.',
    );
  }
  return handler;
}

function find(exported, keys) {
  const walk = (from) => keys.split('.').reduce((value, key) => value && value[key], from);
  const found = walk(exported);
  return found || !dropsCallbacks ? found : walk(exported && exported.default);
}

async function loadModule(root, folder, name) {
  try {
    return await resolveModule(root, folder, name);
  } catch (error) {
    if (error instanceof SyntaxError) {
      const fault = new errors.UserCodeSyntaxError(String(error));
      fault.stack = error.stack;
      throw fault;
    }
    if (error && error.code === 'MODULE_NOT_FOUND') {
      throw new errors.ImportModuleError(String(error));
    }
    throw error;
  }
}

/** AWS's order: the bare file, `.js` as its package says, `.mjs`, `.cjs`, then Node's lookup. */
async function resolveModule(root, folder, name) {
  const stem = path.resolve(root, folder, name);
  if (isFile(stem)) return customerRequire(stem);
  const script = `${stem}.js`;
  if (isFile(script)) {
    return isModulePackage(path.dirname(script)) ? importFile(script) : customerRequire(script);
  }
  if (isFile(`${stem}.mjs`)) return importFile(`${stem}.mjs`);
  if (isFile(`${stem}.cjs`)) return customerRequire(`${stem}.cjs`);
  // A folder with an `index.js`, as `require` takes it.
  if (fs.existsSync(stem)) return customerRequire(stem);
  const paths = [root, path.join(root, folder)];
  return customerRequire(customerRequire.resolve(name, { paths }));
}

function isFile(file) {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  return stat !== undefined && stat.isFile();
}

function importFile(file) {
  return import(require('url').pathToFileURL(file).href);
}

/** Whether the nearest `package.json` from `folder` upwards makes its `.js` files ES modules. */
function isModulePackage(folder) {
  if (folder.endsWith('/node_modules')) return false;
  const file = path.join(folder, 'package.json');
  if (isFile(file)) {
    try {
      return JSON.parse(fs.readFileSync(file, 'utf8')).type === 'module';
    } catch (error) {
      console.warn(
        `${file} cannot be read, it will be ignored for ES module detection purposes.`,
        error,
      );
      return false;
    }
  }
  return folder === '/' ? false : isModulePackage(path.dirname(folder));
}

module.exports = { dropsCallbacks, load };
