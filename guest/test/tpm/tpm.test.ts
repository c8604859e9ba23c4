/** Framing, response codes and retries, against a TPM that is scripted. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex } from '@enclaim/attestation/bytes';
import { fc } from '../../../test/support/properties.ts';
import {
  CREATE_PRIMARY,
  FLUSH_CONTEXT,
  GET_CAPABILITY,
  GET_RANDOM,
  PCR_EXTEND,
  QUOTE,
} from '../../src/tpm/commands.ts';
import { errorOf, TpmError } from '../../src/tpm/error.ts';
import { readPcrs } from '../../src/tpm/registers.ts';
import { Tpm } from '../../src/tpm/tpm.ts';

const OK = '8001000000140000000000080102030405060708';

/** A TPM that gives the answers in order, then the last one for ever. */
function scripted(...answers: readonly string[]): { tpm: Tpm; sent: Uint8Array[] } {
  const sent: Uint8Array[] = [];
  const send = async (command: Uint8Array): Promise<Uint8Array> => {
    sent.push(command);
    return fromHex(answers[Math.min(sent.length, answers.length) - 1] ?? '');
  };
  return { tpm: new Tpm({ send, close: async () => undefined }), sent };
}

const rc = (code: string): string => `80010000000a${code.padStart(8, '0')}`;

test('commands are framed as Part 1 has it', async () => {
  const { tpm, sent } = scripted(OK);
  assert.deepEqual((await tpm.run(GET_RANDOM, { count: 8 })).bytes, fromHex('0102030405060708'));
  assert.deepEqual(sent[0], fromHex('80010000000c0000017b0008'));
  await tpm.run(FLUSH_CONTEXT, { object: 0x8000_0001 }).catch(() => undefined);
  assert.deepEqual(sent[1], fromHex('80010000000e0000016580000001'));
  const digest = new Uint8Array(32).fill(7);
  await tpm.run(PCR_EXTEND, { pcr: 15, digests: [{ bank: 'sha256', digest }] }).catch(() => undefined);
  const auth = '00000009400000090000010000';
  assert.deepEqual(sent[2], fromHex(`80020000004100000182${'0000000f'}${auth}00000001000b${'07'.repeat(32)}`));
});

test('busy, giving way, testing, sparing its memory: asked again with the same bytes; nothing else is', async () => {
  const { tpm, sent } = scripted(rc('922'), rc('908'), rc('90a'), rc('920'), rc('923'), OK);
  await tpm.run(GET_RANDOM, { count: 8 });
  assert.equal(sent.length, 6);
  assert.equal(new Set(sent.map((command) => command.toHex())).size, 1);
  for (const code of ['921', '101', '904']) {
    const once = scripted(rc(code), OK);
    await assert.rejects(once.tpm.run(GET_RANDOM, { count: 8 }), TpmError);
    assert.equal(once.sent.length, 1);
  }
});

test('retries end', async () => {
  const { tpm, sent } = scripted(rc('922'));
  await assert.rejects(tpm.run(GET_RANDOM, { count: 8 }), { code: 'retry', rc: 0x922 });
  assert.equal(sent.length, 16);
});

test('response codes have names, and say what was at fault', () => {
  for (const [code, name, message] of [
    [0x921, 'lockout', 'lockout from X, rc 0x921'],
    [0x100, 'initialize', 'initialize from X, rc 0x100'],
    [0x98e, 'auth-fail', 'auth-fail (session 1) from X, rc 0x98e'],
    [0x18b, 'handle', 'handle (handle 1) from X, rc 0x18b'],
    [0x2d5, 'size', 'size (parameter 2) from X, rc 0x2d5'],
    [0x99d, 'policy-fail', 'policy-fail (session 1) from X, rc 0x99d'],
    [0xffff_ffff, 'unknown', undefined],
    [0x1e, 'unknown', 'unknown response code from X, rc 0x1e'],
  ] as const) {
    const error = errorOf(code, 'X');
    assert.equal(error.code, name);
    assert.equal(error.rc, code);
    if (message) assert.equal(error.message, message);
  }
});

test('a malformed response is refused, whatever is wrong with it', async () => {
  for (const answer of [
    '', // nothing
    '8001000000', // no header
    '80010000001500000000000801020304050607', // size beyond the end
    '800100000014000000000008010203040506070809', // size before the end
    '8002000000140000000000080102030405060708', // tag of a command with sessions
    '8001000000140000000000090102030405060708', // length beyond the end
    '8001000000140000000000070102030405060708', // trailing bytes
    `800100000${(12 + 65).toString(16).padStart(3, '0')}000000000041${'00'.repeat(65)}`, // longer than any digest
  ]) {
    await assert.rejects(scripted(answer).tpm.run(GET_RANDOM, { count: 8 }), { code: 'response', rc: 0 }, answer);
  }
  const otherCapability = '800100000013000000000000000006' + '00000000';
  await assert.rejects(scripted(otherCapability).tpm.run(PCR_EXTEND, { pcr: 0, digests: [] }), { code: 'response' });
});

test('any response gives a value or a TpmError', () =>
  fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.constantFrom('8001', '8002'), async (body, tag) => {
      const answer = `${tag}${(10 + body.length).toString(16).padStart(8, '0')}00000000${body.toHex()}`;
      const { tpm } = scripted(answer);
      const publicArea = {
        type: 'keyedhash',
        nameAlg: 'sha256',
        attributes: [],
        authPolicy: body,
        scheme: 'none',
      } as const;
      const sensitive = { userAuth: new Uint8Array(), data: new Uint8Array() };
      for (const run of [
        tpm.run(GET_CAPABILITY, { capability: 'pcrs', property: 0, count: 1 }),
        tpm.run(QUOTE, { sign: 1, qualifyingData: new Uint8Array(), selection: [] }),
        tpm.run(CREATE_PRIMARY, {
          ...{ hierarchy: 1, sensitive },
          publicArea: { ...publicArea, authPolicy: new Uint8Array(), unique: new Uint8Array() },
          creationPcrs: [],
        }),
      ]) {
        await run.catch((error: unknown) => assert.ok(error instanceof TpmError, String(error)));
      }
    }),
    { numRuns: 3000 },
  ));

test('PCR_Read that answers with other registers, or never ends, is refused', async () => {
  const selection = [{ bank: 'sha256', pcrs: [1] }] as const;
  const answer = (bitmap: string, values: string): string => {
    const body = `00000001${'00000001000b03'}${bitmap}${values}`;
    return `8001${(10 + body.length / 2).toString(16).padStart(8, '0')}00000000${body}`;
  };
  const value = `0020${'11'.repeat(32)}`;
  await readPcrs(scripted(answer('020000', `00000001${value}`)).tpm, selection);
  for (const [bitmap, values, code] of [
    ['010000', `00000001${value}`, 'response'], // another register
    ['020000', `00000002${value}${value}`, 'response'], // a value too many
    ['020000', '00000000', 'response'], // none
    ['020000', `00000001${'0014'}${'11'.repeat(20)}`, 'response'], // of another bank
    ['000000', '00000000', 'unusable'], // no such register
  ] as const) {
    await assert.rejects(readPcrs(scripted(answer(bitmap, values)).tpm, selection), { code });
  }
});
