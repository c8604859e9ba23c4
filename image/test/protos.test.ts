/** Descriptors depend on the .proto files of the folder alone, and every error has its place. */

import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { PolicyError } from '@enclaim/policy-schema';
import { compileProtos } from '../src/programs/protos.ts';

const CLINIC = join(import.meta.dirname, '../../examples/clinic/proto');
const folders: string[] = [];

after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

function folder(name = 'protos'): string {
  const made = mkdtempSync(join(tmpdir(), 'enclaim-protos-test-'));
  folders.push(made);
  const inner = join(made, name);
  mkdirSync(inner);
  return inner;
}

const refused =
  (message: RegExp) =>
  (error: unknown): boolean =>
    error instanceof PolicyError && error.code === 'descriptor' && message.test(error.message);

test('the same files give the same bytes, wherever they lie', async () => {
  const copy = folder('an other näme');
  cpSync(CLINIC, copy, { recursive: true });
  assert.deepEqual(await compileProtos(copy), await compileProtos(CLINIC));
});

test('a configuration in the folder counts for nothing', async () => {
  const copy = folder();
  cpSync(CLINIC, copy, { recursive: true });
  writeFileSync(join(copy, 'buf.yaml'), 'version: v2\nmodules: [{ path: nowhere }]\ndeps: [buf.build/no/such]\n');
  writeFileSync(join(copy, 'buf.lock'), 'nonsense');
  assert.deepEqual(await compileProtos(copy), await compileProtos(CLINIC));
});

test('a handling.proto of their own does not replace ours', async () => {
  const copy = folder();
  cpSync(CLINIC, copy, { recursive: true });
  mkdirSync(join(copy, 'enclaim'));
  writeFileSync(join(copy, 'enclaim/handling.proto'), 'syntax = "proto3"; package enclaim;');
  assert.deepEqual(await compileProtos(copy), await compileProtos(CLINIC));
});

test('a link is refused, for what it leads to may change', async () => {
  const copy = folder();
  symlinkSync(join(CLINIC, 'clinic/v1/fhir.proto'), join(copy, 'fhir.proto'));
  await assert.rejects(() => compileProtos(copy), refused(/fhir\.proto: a link, which is not followed/));
});

test('an import from outside the folder is not found', async () => {
  const copy = folder();
  writeFileSync(join(copy, 'a.proto'), 'syntax = "proto3"; import "../b.proto";');
  writeFileSync(join(copy, '../b.proto'), 'syntax = "proto3";');
  await assert.rejects(() => compileProtos(copy), refused(/a\.proto:1:27: /));
});

test('a folder that is not there, or has none, is refused', async () => {
  await assert.rejects(() => compileProtos(join(folder(), 'nowhere')), refused(/^cannot read/));
  await assert.rejects(() => compileProtos(folder()), refused(/^no \.proto file below/));
});

test('every error is listed with its place, and nothing is left behind', async () => {
  const copy = folder();
  writeFileSync(join(copy, 'a.proto'), 'syntax = "proto3";\nmessage A { strin x = 1; }\nmessage B { C y = 1; }');
  const temporary = folder();
  const usual = process.env.TMPDIR;
  process.env.TMPDIR = temporary;
  try {
    await assert.rejects(
      () => compileProtos(copy),
      (error) =>
        error instanceof PolicyError &&
        error.issues.map(({ line, column }) => `${line}:${column}`).join() === '2:13,3:13',
    );
    assert.deepEqual(readdirSync(temporary), []);
  } finally {
    if (usual === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = usual;
  }
});
