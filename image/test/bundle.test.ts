/**
 * A bundle's bytes depend on policy, protos and handlers alone, and sources that make no app are
 * refused.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Script } from 'node:vm';
import { parseBundle } from '@enclaim/attestation/bundle';
import { PolicyError } from '@enclaim/policy-schema';
import { buildBundle, findApp } from '../src/build/bundle.ts';
import { ImageError, type ImageErrorCode } from '../src/errors.ts';
import { projectRoot } from '../src/inputs/fetch.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-bundle-'));
after(() => rm(scratch, { recursive: true, force: true }));

const refused = (code: ImageErrorCode) => (error: unknown) => error instanceof ImageError && error.code === code;

const ECHO = join(import.meta.dirname, 'apps/echo');
const POLICY = await readFile(join(ECHO, 'policy.yaml'), 'utf8');

let apps = 0;
/** A copy of the smallest app with files changed, added, or (null) removed. */
async function app(changes: Readonly<Record<string, string | null>> = {}): Promise<string> {
  const folder = join(scratch, `app${apps++}`);
  await cp(ECHO, folder, { recursive: true });
  for (const [path, text] of Object.entries(changes)) {
    if (text === null) await rm(join(folder, path));
    else await writeFile(join(folder, path), text);
  }
  return folder;
}

const build = async (changes?: Readonly<Record<string, string | null>>) =>
  buildBundle(await findApp(await app(changes)));

test('a bundle holds canonical policy, descriptors and a program that assigns its handlers', async () => {
  const { bytes, match } = await build();
  assert.deepEqual(
    match.exposed.map(({ id }) => id),
    ['echo.v1.Echo/Say'],
  );
  const { policy, handlers } = parseBundle(bytes);
  assert.equal(Buffer.from(policy).toString()[0], '{');
  const module = { exports: {} as { handlers?: Record<string, (request: unknown) => Promise<unknown>> } };
  new Script(`(function (module, exports) {${Buffer.from(handlers)}\n})`).runInThisContext()(module, module.exports);
  assert.deepEqual(await module.exports.handlers?.['echo.v1.Echo/Say']?.({ text: 'a' }), { text: 'aa' });
});

test('comments and key order of the policy do not move the bundle; a handler does, but not the policy', async () => {
  const plain = await build();
  const commented = await build({ 'policy.yaml': `# a remark\n${POLICY}` });
  assert.equal(commented.digest, plain.digest);
  const other = await build({ 'handlers/twice.ts': `export const twice = (text: string): string => text;` });
  assert.notEqual(other.digest, plain.digest);
  assert.equal(other.policy, plain.policy);
});

test('folder, umask, time zone, language, NODE_PATH and a stray tsconfig.json do not move a byte', async () => {
  const program = `
    const { buildBundle, findApp } = await import(${JSON.stringify(join(projectRoot, 'image/src/build/bundle.ts'))});
    process.umask(Number(process.env.MASK));
    process.stdout.write((await buildBundle(await findApp(process.env.APP))).digest);`;
  const digest = (folder: string, env: Readonly<Record<string, string>>): string =>
    execFileSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: folder,
      env: { PATH: process.env.PATH ?? '', APP: folder, ...env },
      encoding: 'utf8',
    });
  const source = join(projectRoot, 'examples/clinic');
  const [here, there] = [join(scratch, 'here'), join(scratch, 'a longer/way/there')];
  for (const folder of [here, there]) await cp(source, folder, { recursive: true });
  await writeFile(join(there, 'tsconfig.json'), '{"compilerOptions":{"target":"es5","jsx":"react"}}');
  const first = digest(here, { MASK: '0o22', TZ: 'UTC', LANG: 'C' });
  const second = digest(there, { MASK: '0o77', TZ: 'Asia/Tokyo', LANG: 'tr_TR.UTF-8', NODE_PATH: here, HOME: there });
  assert.match(first, /^sha384:/);
  assert.equal(second, first);
});

const FORBIDDEN: Readonly<Record<string, string>> = {
  'a built-in': `import { readFileSync } from 'node:fs'; export default { 'echo.v1.Echo/Say': async () => readFileSync('/') };`,
  'a built-in without its scheme': `import net from 'net'; export default { 'echo.v1.Echo/Say': async () => net };`,
  'a required built-in': `const { exec } = require('child_process'); module.exports = { 'echo.v1.Echo/Say': exec };`,
  'a built-in imported late': `export default { 'echo.v1.Echo/Say': async () => import('node:http') };`,
  'a built-in of a dependency': `import './dependency.ts'; export default {};`,
};

for (const [name, text] of Object.entries(FORBIDDEN)) {
  test(`refused: handlers that import ${name}`, async () => {
    const changes = { 'handlers/index.ts': text, 'handlers/dependency.ts': `import 'node:sqlite';` };
    await assert.rejects(build(changes), refused('import-forbidden'));
  });
}

test('sources that cannot make an app are refused with what is wrong', async () => {
  await assert.rejects(build({ 'handlers/index.ts': 'export default {' }), refused('compile-failed'));
  await assert.rejects(build({ 'handlers/index.ts': `import 'no-such-package';` }), refused('compile-failed'));
  await assert.rejects(build({ 'handlers/index.ts': null }), refused('file-missing'));
  await assert.rejects(build({ 'policy.yaml': null }), refused('file-missing'));
  await assert.rejects(build({ 'policy.json': '{}' }), refused('file-missing'));
  await assert.rejects(build({ 'policy.yaml': 'enclaim: 1\nservices: [' }), PolicyError);
  await assert.rejects(build({ 'proto/echo/v1/echo.proto': 'syntax = "proto3"; message' }), PolicyError);
  const otherPurpose = POLICY.replace('purpose: service', 'purpose: marketing');
  await assert.rejects(build({ 'policy.yaml': otherPurpose }), refused('policy-mismatch'));
});

test('the example is an app', async () => {
  const { match } = await buildBundle(await findApp(join(projectRoot, 'examples/clinic')));
  assert.deepEqual(
    match.withheld.map(({ method }) => method),
    ['clinic.v1.Marketing/ExportContacts'],
  );
});
