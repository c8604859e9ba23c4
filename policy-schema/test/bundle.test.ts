/**
 * The room runs in a browser without code from strings, and its part for the VM has no YAML and no
 * Cedar.
 */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { runInNewContext } from 'node:vm';
import { build } from 'esbuild';

const src = join(import.meta.dirname, '../src');

async function bundle(entry: string): Promise<{ code: string; inputs: string[] }> {
  // A browser knows nothing of node: modules; one that is imported fails the build.
  const { outputFiles, metafile } = await build({
    entryPoints: [join(src, entry)],
    bundle: true,
    write: false,
    metafile: true,
    platform: 'browser',
    format: 'iife',
    globalName: 'enclaim',
    target: 'es2024',
    logLevel: 'silent',
  });
  return { code: outputFiles[0]?.text ?? '', inputs: Object.keys(metafile.inputs) };
}

const POLICY = JSON.stringify({ enclaim: 1, system: { name: 'a', owner: { name: 'A', contact: 'a' }, version: 1 } });

test('the whole runs in a browser: no Node, and no code from strings', async () => {
  const { code } = await bundle('index.ts');
  const globals = { TextEncoder, TextDecoder, structuredClone, URL };
  const strict = { contextCodeGeneration: { strings: false, wasm: false } };
  const digest = runInNewContext(
    `${code}; enclaim.policyDigest(enclaim.parsePolicy(${JSON.stringify(POLICY)}))`,
    globals,
    strict,
  );
  assert.match(digest, /^sha384:[0-9a-f]{96}$/);
});

test('code from strings is not even tried', async () => {
  const { code } = await bundle('admission.ts');
  let asked = 0;
  const compile = (): never => {
    asked++;
    throw new EvalError('no code from strings here');
  };
  const globals = {
    TextEncoder,
    TextDecoder,
    structuredClone,
    Function: compile,
    bytes: new TextEncoder().encode(POLICY),
  };
  assert.throws(() => runInNewContext(`${code}; enclaim.decodePolicy(bytes)`, globals), /not in canonical form/);
  assert.equal(asked, 0);
});

test('what runs in the VM has no YAML and no Cedar in it', async () => {
  const { inputs, code } = await bundle('admission.ts');
  assert.deepEqual(
    inputs.filter((input) => /node_modules\/(?:yaml|@cedar-policy)\//.test(input)),
    [],
  );
  assert.ok(inputs.some((input) => input.endsWith('src/canonical.ts')));
  assert.ok(code.length < 1_500_000, `${code.length} bytes`);
});

test('Cedar is reached only through its own entry point', async () => {
  const { inputs } = await bundle('index.ts');
  assert.deepEqual(
    inputs.filter((input) => input.includes('@cedar-policy')),
    [],
  );
});
