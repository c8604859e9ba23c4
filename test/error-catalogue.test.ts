/** Each code of an error is in docs/reference/errors.md with its meaning, and the page has no other. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { REFUSALS } from '../runtime/src/refusals.ts';

const root = join(import.meta.dirname, '..');
const page = readFileSync(join(root, 'docs/reference/errors.md'), 'utf8');

/** Sections of the page, with the closed set of codes that each is about. */
const SECTIONS: readonly (readonly [heading: string, file: string, type: string])[] = [
  ['EvidenceError', 'attestation/src/errors.ts', 'EvidenceErrorCode'],
  ['AppraisalError', 'attestation/src/errors.ts', 'AppraisalErrorCode'],
  ['CollateralError', 'attestation/src/errors.ts', 'CollateralErrorCode'],
  ['DecodeError', 'attestation/src/errors.ts', 'DecodeErrorCode'],
  ['ChannelError', 'client/src/errors.ts', 'ChannelErrorCode'],
  ['WitnessError', 'client/src/witness/errors.ts', 'WitnessErrorCode'],
  ['RefusalError', 'runtime/src/errors.ts', 'RefusalCode'],
  ['LogError', 'client/src/log/log-error.ts', 'LogErrorCode'],
  ['LogRefusal', 'runtime/src/channel/log-refusal.ts', 'LogRefusalCode'],
  ['SecretRefusal', 'runtime/src/channel/secret-refusal.ts', 'SecretRefusalCode'],
  ['SuccessionError', 'attestation/src/succession.ts', 'SuccessionErrorCode'],
  ['KeeperRefusal', 'runtime/src/channel/keeper-refusal.ts', 'KeeperRefusalCode'],
  ['SuccessionRefusal', 'runtime/src/channel/succession-refusal.ts', 'SuccessionRefusalCode'],
  ['PolicyError', 'policy-schema/src/error.ts', 'PolicyIssueCode'],
  ['Methods withheld', 'policy-schema/src/match/match.ts', 'ReasonCode'],
  ['MachineError', 'image/src/machine/error.ts', 'MachineErrorCode'],
  ['RecoveryError', 'attestation/src/recovery.ts', 'RecoveryErrorCode'],
  ['StateError', 'cli/src/state/error.ts', 'StateErrorCode'],
  ['ImageError', 'image/src/errors.ts', 'ImageErrorCode'],
];

/** Members of a union of texts, as the source declares it. */
function codesOf(file: string, type: string): string[] {
  const source = readFileSync(join(root, file), 'utf8').replace(/\/\*\*.*?\*\/|\/\/[^\n]*/gs, '');
  const [, union] = new RegExp(`^export type ${type} =(.*?);`, 'ms').exec(source) ?? assert.fail(`${file}: ${type}`);
  return [...(union ?? '').matchAll(/'([^']+)'/g)].map(([, code = '']) => code);
}

/** Rows of a section's table: code, and the cells behind it. */
function rowsOf(heading: string): ReadonlyMap<string, readonly string[]> {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? assert.fail(heading);
  const rows = [...section.matchAll(/^\| `([^`]+)` \| (.*) \|$/gm)];
  return new Map(rows.map(([, code = '', cells = '']) => [code, cells.split(' | ')]));
}

for (const [heading, file, type] of SECTIONS)
  test(`${heading}: the page has the codes of ${type}, each with a meaning and what to do`, () => {
    const [codes, rows] = [codesOf(file, type), rowsOf(heading)];
    assert.ok(codes.length > 0);
    assert.deepEqual([...rows.keys()].sort(), codes.sort());
    for (const [code, cells] of rows) assert.ok(cells.length >= 2 && cells.every((cell) => cell.trim() !== ''), code);
  });

test('RefusalError: each code has the status that callers are told', () => {
  for (const [code, [told]] of rowsOf('RefusalError'))
    assert.equal(told, status[REFUSALS[code as keyof typeof REFUSALS][0]], code);
});

test('each class of errors with a closed set of codes is on the page', () => {
  for (const name of ['VerdictError', 'TsmError', 'TpmError', 'CommandLineError', 'LinuxError'])
    assert.ok(page.includes(name), name);
});
