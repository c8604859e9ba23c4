/** A system goes on with an older copy of its state only where its signers say so of that very copy and the keeper has its key, and says it. */

import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { copyFile, cp, mkdir, mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { equalBytes } from '@enclaim/attestation/bytes';
import { sha256 } from '@enclaim/attestation/digest';
import { logLayout, SLOT_HEAD_BYTES, SLOT_MAGIC, SLOT_VERSION } from '@enclaim/attestation/log-disk';
import {
  encodeRecovery,
  RECOVERY_AREA_BYTES,
  RECOVERY_AT,
  type RecoveryFile,
  readRecovery,
  recoveryArea,
  signRecovery,
} from '@enclaim/attestation/recovery';
import { ed25519Key } from '@enclaim/attestation/statement';
import { connect, inspect } from '@enclaim/client';
import { describeServices } from '@enclaim/client/network';
import { type BuiltBundle, buildBundle } from '@enclaim/image';
import { RefusalError } from '@enclaim/runtime';
import { Client, credentials } from '@grpc/grpc-js';
import { EXIT } from '../cli/src/exit-status.ts';
import { type Swtpm, startSwtpm } from './fakes/swtpm.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { enclaim } from './support/command.ts';
import { HANGS_MS } from './support/eventually.ts';
import { recordsOnDisk } from './support/log-disk.ts';

const APP = join(import.meta.dirname, 'sealed-app');
const DISK_BYTES = 16 * 1024 * 1024;
const KEYS = [0, 1, 2].map(() => generateKeyPairSync('ed25519').privateKey);
const [FIRST, SECOND, STRANGER] = KEYS as [KeyObject, KeyObject, KeyObject];
const nameOf = (key: KeyObject) => ed25519Key(Buffer.from(String(key.export({ format: 'jwk' }).x), 'base64url'));

let folder: string;
let bundle: BuiltBundle;
let policyFile: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-recovery-'));
  policyFile = join(folder, 'policy.yaml');
  const base = (await readFile(join(APP, 'policy.yaml'), 'utf8')).replace('PT1M', 'PT12H');
  const signers = [FIRST, SECOND].map((key) => `"${nameOf(key)}"`).join(', ');
  await writeFile(policyFile, `${base}succession: { signers: [${signers}], threshold: 2, notice: P7D }\n`);
  for (const [i, key] of KEYS.entries()) await writeFile(at(`${i}.pem`), key.export({ type: 'pkcs8', format: 'pem' }));
  bundle = await buildBundle({
    policyFile,
    protoDir: join(APP, 'proto'),
    handlersEntry: join(APP, 'handlers/index.ts'),
  });
});
after(() => rm(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

/** A machine with its TPM, and at most one boot. */
class Machine {
  readonly #swtpm: Swtpm;
  #server: AttestedRuntime | undefined;

  constructor(swtpm: Swtpm) {
    this.#swtpm = swtpm;
  }

  async boot(disk: string, isCut = false): Promise<AttestedRuntime> {
    await this.stop();
    await this.#swtpm.powerCycle();
    this.#server = await bootAttested(bundle, {
      ...{ swtpm: this.#swtpm, logFile: disk, logBytes: DISK_BYTES },
      ...(isCut && { platform: (honest) => ({ ...honest, sign: () => Promise.reject(new Error('power cut')) }) }),
    });
    return this.#server;
  }

  async stop(): Promise<void> {
    const running = this.#server;
    this.#server = undefined;
    await running?.stop();
  }

  async call(name: string, request: JsonValue): Promise<JsonValue> {
    const { target, references } = this.#server ?? assert.fail('no machine runs');
    await using channel = await connect(target, { references });
    const { registry } = await describeServices(channel, { deadline: Date.now() + HANGS_MS });
    const method = registry.getService('kept.v1.Notes')?.methods.find((each) => each.name === name) ?? assert.fail();
    const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
    const bytes = Buffer.from(toBinary(method.input, fromJson(method.input, request)));
    const same = (message: Buffer): Buffer => message;
    const answer = await new Promise<Buffer>((resolve, reject) => {
      client.makeUnaryRequest(`/kept.v1.Notes/${name}`, same, same, bytes, (error, message) =>
        error === null && message !== undefined ? resolve(message) : reject(error),
      );
    });
    return toJson(method.output, fromBinary(method.output, answer));
  }

  async isShut(disk: string, words: RegExp): Promise<void> {
    await assert.rejects(
      this.boot(disk),
      (error) => error instanceof RefusalError && error.code === 'state' && words.test(error.message),
    );
  }
}

/** A machine whose disk was lost, after a snapshot of it, in one epoch. @returns the exported snapshot */
async function lost(t: { after(end: () => unknown): void }, name: string): Promise<{ machine: Machine; file: string }> {
  const swtpm = await startSwtpm({ certified: true });
  const machine = new Machine(swtpm);
  t.after(async () => {
    await machine.stop();
    await swtpm.stop();
  });
  const [disk, snapshot, file] = [at(`${name}.disk`), at(`${name}.snapshot`), at(`${name}.file`)];
  await writeFile(disk, '');
  await truncate(disk, DISK_BYTES);
  await machine.boot(disk);
  await machine.call('Put', { key: 'before', text: 'in the snapshot' });
  await copyFile(disk, snapshot);
  await machine.call('Put', { key: 'after', text: 'not in it' });
  await machine.stop();
  assert.equal((await enclaim('state', 'export', snapshot, '--to', file)).code, EXIT.ok);
  return { machine, file };
}

async function signed(file: string, recovery: string, ...keys: readonly number[]): Promise<void> {
  await enclaim('state', 'recovery', 'propose', file, '-o', recovery);
  for (const key of keys) {
    const words = ['--key', at(`${key}.pem`), '--state', file, '--policy', policyFile];
    const { code, stderr } = await enclaim('state', 'recovery', 'sign', recovery, ...words);
    assert.equal(code, EXIT.ok, stderr);
  }
}

test('signers state a recovery from a snapshot: its boot says so in statement and log, and the next one no more', async (t) => {
  const { machine, file } = await lost(t, 'whole');
  const [recovery, to] = [at('recovery.json'), at('whole.state')];
  const importing = (): ReturnType<typeof enclaim> =>
    enclaim('state', 'import', file, '--to', to, '--recovery', recovery, '--policy', policyFile);
  const plain = await enclaim('state', 'import', file, '--to', to);
  assert.match(plain.stderr, /StateError newest/);
  await signed(file, recovery, 0);
  const early = await importing();
  assert.deepEqual([early.code, /1 signatures where 2/.test(early.stderr)], [EXIT.refused, true], early.stderr);
  await signed(file, recovery, 0, 1);
  const words = ['--state', file, '--policy', policyFile];
  const stranger = await enclaim('state', 'recovery', 'sign', recovery, '--key', at('2.pem'), ...words);
  assert.deepEqual([stranger.code, /is no signer/.test(stranger.stderr)], [EXIT.usage, true]);
  const done = await importing();
  assert.equal(done.code, EXIT.ok, done.stderr);
  assert.match(done.stderr, /states that the state was recovered/);
  const disk = join(to, 'state.img');
  const { runtime, target, references } = await machine.boot(disk);
  const { storage } = runtime.statement;
  assert.deepEqual([storage?.began, storage?.epoch], ['recovered', 2]);
  const { authenticated } = await inspect(target, references);
  assert.deepEqual('storage' in authenticated.statement && authenticated.statement.storage, storage);
  assert.deepEqual(await machine.call('Get', { key: 'after' }), {});
  assert.equal(((await machine.call('Get', { key: 'before' })) as { long: string }).long, 'in the snapshot');
  const reasons = (await recordsOnDisk(disk)).map(({ reason }) => reason);
  assert.equal(reasons.filter((reason) => reason === `state recovered ${storage?.recovery}`).length, 1);
  assert.equal((await machine.boot(disk)).runtime.statement.storage?.began, 'kept');
  // The key of that epoch is gone, whatever signers say.
  const again = at('again.state');
  await enclaim('state', 'import', file, '--to', again, '--recovery', recovery, '--policy', policyFile);
  await machine.isShut(join(again, 'state.img'), /epoch 1, and the keeper is at epoch/);
});

test('a state folder that is exported and imported elsewhere opens with its TPM, and with no other', async (t) => {
  const [first, second, third] = [
    await startSwtpm({ certified: true }),
    await startSwtpm({ certified: true }),
    await startSwtpm({ certified: true }),
  ];
  const machines = [first, second, third].map((swtpm) => new Machine(swtpm)) as [Machine, Machine, Machine];
  t.after(async () => {
    for (const machine of machines) await machine.stop();
    for (const swtpm of [first, second, third]) await swtpm.stop();
  });
  const [here, there, tpm, file] = [at('here'), at('there'), at('tpm'), at('moved.file')];
  await mkdir(here);
  await writeFile(join(here, 'state.img'), '');
  await truncate(join(here, 'state.img'), DISK_BYTES);
  const { references, runtime: begun } = await machines[0].boot(join(here, 'state.img'));
  await machines[0].call('Put', { key: 'before', text: 'moves' });
  await machines[0].stop();
  const anchors = { ...references.anchors, attestationKeys: [begun.statement.device.ak ?? assert.fail()] };
  await writeFile(at('known.json'), JSON.stringify({ ...references, anchors }));
  const stranger = { ...references, anchors, policy: `sha384:${'0'.repeat(96)}` };
  await writeFile(at('stranger.json'), JSON.stringify(stranger));
  const exported = await enclaim('state', 'export', here, '--to', file);
  assert.equal(exported.code, EXIT.ok, exported.stderr);
  const misfit = await enclaim('state', 'import', file, '--to', there, '--references', at('stranger.json'));
  assert.deepEqual([misfit.code, /StateError quote/.test(misfit.stderr)], [EXIT.refused, true], misfit.stderr);
  const imported = await enclaim('state', 'import', file, '--to', there, '--references', at('known.json'));
  assert.equal(imported.code, EXIT.ok, imported.stderr);
  const disk = join(there, 'state.img');
  await assert.rejects(machines[2].boot(disk), (error) => error instanceof RefusalError);
  // The software TPM moves, too: its folder as it is while nothing runs.
  await first.powerCycle((state) => cp(state, tpm, { recursive: true }));
  await second.powerCycle(async (state) => {
    await rm(state, { recursive: true });
    await cp(tpm, state, { recursive: true });
  });
  const { runtime } = await machines[1].boot(disk);
  assert.deepEqual([runtime.statement.storage?.began, runtime.statement.storage?.epoch], ['kept', 2]);
});

test('a recovered boot that is cut off before its record says so again', async (t) => {
  const { machine, file } = await lost(t, 'cut');
  const [recovery, to] = [at('cut.json'), at('cut.state')];
  await signed(file, recovery, 0, 1);
  await enclaim('state', 'import', file, '--to', to, '--recovery', recovery, '--policy', policyFile);
  const disk = join(to, 'state.img');
  await assert.rejects(machine.boot(disk, true), /power cut/);
  const { storage } = (await machine.boot(disk)).runtime.statement;
  assert.deepEqual([storage?.began, storage?.epoch], ['recovered', 3]);
  assert.equal((await machine.boot(disk)).runtime.statement.storage?.began, 'kept');
  const reasons = (await recordsOnDisk(disk)).map(({ reason }) => reason);
  assert.equal(reasons.filter((reason) => reason.startsWith('state recovered')).length, 1);
});

test('a host that writes a recovery of its own beside a disk has no boot say that signers stated it', async (t) => {
  const { machine, file } = await lost(t, 'forged');
  const [recovery, snapshot] = [at('forged.json'), at('forged.snapshot')];
  await signed(file, recovery, 0, 1);
  const good = readRecovery(await readFile(recovery));
  const by = (one: RecoveryFile, ...keys: readonly KeyObject[]): RecoveryFile =>
    keys.reduce((sofar, key) => signRecovery(sofar, nameOf(key), (message) => sign(null, message, key)), {
      ...one,
      signatures: [],
    } as RecoveryFile);
  const { document } = good;
  const cases: readonly [RecoveryFile, RegExp][] = [
    [{ ...good, signatures: [] }, /0 signatures where 2/],
    [by(good, FIRST), /1 signatures where 2/],
    [by(good, FIRST, STRANGER), /no signer/],
    [{ ...good, document: { ...document, log: { ...document.log, size: 1 } } }, /over something else/],
    [by({ ...good, document: { ...document, log: { ...document.log, size: 1 } } }, FIRST, SECOND), /a recovery of 1 /],
    [by({ ...good, document: { ...document, policy: `sha384:${'0'.repeat(96)}` } }, FIRST, SECOND), /under policy/],
  ];
  const write = async (area: Uint8Array): Promise<void> => {
    await using disk = await open(snapshot, 'r+');
    await disk.write(area, 0, area.length, RECOVERY_AT);
  };
  for (const [forged, words] of cases) {
    await write(recoveryArea(encodeRecovery(forged)));
    await machine.isShut(snapshot, words);
  }
  await write(recoveryArea(new TextEncoder().encode('{}')));
  await machine.isShut(snapshot, /recovery/);
  // Without any, it is a tail that was cut within the epoch: no boot sees that (docs/security/keeper.md).
  await write(new Uint8Array(RECOVERY_AREA_BYTES));
  assert.equal((await machine.boot(snapshot)).runtime.statement.storage?.began, 'kept');
});

test('a recovery of an epoch that only a forged head names is refused, and never passed over', async (t) => {
  const { machine } = await lost(t, 'heads');
  const [snapshot, file, recovery, to] = ['heads.snapshot', 'two.file', 'two.json', 'two.state'].map(at) as [
    string,
    string,
    string,
    string,
  ];
  await using disk = await open(snapshot, 'r+');
  const { base, length } = logLayout(DISK_BYTES).slots;
  const free = [base, base + length];
  for (const slot of [...free]) {
    const { buffer } = await disk.read(Buffer.alloc(8), 0, 8, slot);
    if (equalBytes(buffer, SLOT_MAGIC)) free.splice(free.indexOf(slot), 1);
  }
  assert.equal(free.length, 1);
  await disk.write(headOf(2), 0, SLOT_HEAD_BYTES, free[0]);
  await disk.sync();
  assert.equal((await enclaim('state', 'export', snapshot, '--to', file)).code, EXIT.ok);
  await signed(file, recovery, 0, 1);
  const importing = ['state', 'import', file, '--to', to, '--recovery', recovery, '--policy', policyFile];
  assert.equal((await enclaim(...importing)).code, EXIT.ok);
  await machine.isShut(join(to, 'state.img'), /a recovery of epoch 2, and the keeper is at epoch 1/);

  await rm(to, { recursive: true });
  await signed(file, recovery, 0, 1);
  assert.equal((await enclaim('state', 'recovery', 'propose', file, '--epoch', '7')).code, EXIT.usage);
  await enclaim('state', 'recovery', 'propose', file, '--epoch', '1', '-o', recovery);
  for (const key of [0, 1]) {
    const words = ['--key', at(`${key}.pem`), '--state', file, '--policy', policyFile];
    assert.equal((await enclaim('state', 'recovery', 'sign', recovery, ...words)).code, EXIT.ok);
  }
  assert.equal((await enclaim(...importing)).code, EXIT.ok);
  const { runtime } = await machine.boot(join(to, 'state.img'));
  assert.equal(runtime.statement.storage?.began, 'recovered');
});

/** A slot's head of an epoch, in the clear and with nothing in it: anything can write one. */
function headOf(epoch: number): Buffer {
  const head = Buffer.alloc(SLOT_HEAD_BYTES);
  head.set(SLOT_MAGIC);
  head.writeUInt32BE(SLOT_VERSION, 8);
  head.writeBigUInt64BE(BigInt(epoch), 16);
  const hashed = SLOT_HEAD_BYTES - 32;
  head.set(sha256(head.subarray(0, hashed)), hashed);
  return head;
}
