/** A machine serves while witnesses of its policy cosign its log, refuses while they are away, and for good once they cosigned another tree. */

import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { decodeEntry } from '@enclaim/attestation/record';
import { ed25519Key } from '@enclaim/attestation/statement';
import {
  formatCheckpoint,
  formatNote,
  formatNoteKey,
  parseNoteKey,
  parseWitnessLines,
} from '@enclaim/attestation/tlog';
import { connect } from '@enclaim/client';
import { LogReader } from '@enclaim/client/log';
import { gatherCosignatures } from '@enclaim/client/witness';
import { type CosigningKey, cosign } from '../cli/src/witness/signer.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { buildClinic } from './support/witnessed-clinic.ts';
import { openWitness, witnessKeys } from './support/witnessed-log.ts';

const UNWITNESSED = 12;
const keys = witnessKeys();
const [classic, quantum] = keys as [CosigningKey, CosigningKey];
const LINES = [
  `witness classic ${formatNoteKey(classic.key)}`,
  `witness quantum ${formatNoteKey(quantum.key)}`,
  'group both all classic quantum',
  'quorum both',
];
const reader = generateKeyPairSync('ed25519');
const readerName = ed25519Key(createPublicKey(reader.privateKey).export({ format: 'der', type: 'spki' }).subarray(-32));

let machine: AttestedRuntime;
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-cosigned-'));
  const rules = { witnesses: LINES, unwitnessed: UNWITNESSED, readers: [readerName] };
  machine = await bootAttested(await buildClinic(folder, rules));
});
after(async () => {
  await machine?.stop();
  await rm(folder, { recursive: true });
});

/** The message of a call's end, or of health the status. */
async function ask(session: ClientHttp2Session, path: string): Promise<{ message: string; last: number | undefined }> {
  const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
  const stream = session.request(headers);
  let message = '';
  const hear = (heard: object): void => {
    message ||= decodeURIComponent(String((heard as Record<string, string>)['grpc-message'] ?? ''));
  };
  stream.on('response', hear).on('trailers', hear).end(Buffer.alloc(5));
  const last = Buffer.concat(await Array.fromAsync(stream as AsyncIterable<Buffer>)).at(-1);
  return { message, last };
}

test('away: refused after the number of the policy; back: served; another tree: refused for good; each is on record', async () => {
  await using channel = await connect(machine.target, { references: machine.references });
  const log = new LogReader(channel, {
    reader: { key: readerName, sign: (message) => sign(null, message, reader.privateKey) },
  });
  const session = connectHttp2(`https://${machine.target}`, { rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  const submit = async (): Promise<string> => (await ask(session, '/clinic.v1.Intake/Submit')).message;
  const serving = async (): Promise<boolean> => (await ask(session, '/grpc.health.v1.Health/Check')).last === 1;
  const { origin, key } = await log.checkpoint();
  await using witness = await openWitness([{ origin, key: parseNoteKey(key) }], { keys });
  const policy = parseWitnessLines(
    LINES.map((line) => (line.startsWith('witness') ? `${line} ${witness.address}` : line)),
  );
  const sizes = new Map<string, number>();
  const carry = async (): Promise<number> => {
    const { size, note } = await log.checkpoint();
    const given = await gatherCosignatures(policy, { note, consistency: (old) => log.consistency(old) }, { sizes });
    assert.equal(given.reached, true, String(given.failures[0]));
    const { cosigned } = await log.addCosignatures(given.note);
    assert.equal(cosigned, size);
    return size;
  };
  const first = await carry();
  assert.equal(await carry(), first + 1, 'the record of the first quorum is there');
  assert.equal(await carry(), first + 1, 'and it asks for no other');
  assert.equal(await serving(), true);

  let answered = 0;
  while (!(await submit()).includes('beyond the last cosigned checkpoint')) answered++;
  assert.ok(answered >= UNWITNESSED - 2 && answered <= UNWITNESSED + 2, `${answered} answered`);
  assert.equal(await serving(), false);
  for (let i = 0; i < 2 * UNWITNESSED; i++) assert.match(await submit(), /beyond the last cosigned checkpoint/);
  const { size: full } = await log.checkpoint();
  assert.ok(full <= first + UNWITNESSED + 4, `${full} records: refusals write none`);

  await carry();
  assert.equal(await serving(), true);
  assert.doesNotMatch(await submit(), /cosigned/);

  const now = BigInt(Math.floor(Date.now() / 1000));
  const fork = formatCheckpoint({ origin, size: first, root: new Uint8Array(32), extensions: [] });
  await assert.rejects(log.addCosignatures(formatNote(fork, cosign([classic], fork, now))), /no quorum/);
  assert.equal(await serving(), true, 'one of two is not believed');
  await assert.rejects(log.addCosignatures(formatNote(fork, cosign(keys, fork, now))), /is not this log's/);
  assert.equal(await serving(), false);
  assert.match(await submit(), /another tree/);
  await carry();
  assert.equal(await serving(), false, 'no quorum of later takes it back');

  const { size } = await log.checkpoint();
  const records = (await Array.fromAsync(log.entries(0, size))).map(({ data }) => decodeEntry(data));
  const told = records
    .filter(({ layer }) => layer === 'evidence')
    .map(({ reason, figures }) => `${reason} ${figures.size ?? figures.records}`);
  assert.equal(told[0], `cosigned ${first}`);
  for (const part of [
    `witnesses away ${UNWITNESSED + 1}`,
    'witnesses back',
    `fork: witnesses cosigned another tree ${first}`,
  ])
    assert.ok(
      told.some((one) => one.startsWith(part)),
      `${part} in ${told}`,
    );
  session.destroy();
});
