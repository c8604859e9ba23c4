/** Sealed state passes to the launch that signers of its policy have named, in its time, and to no other. */

import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { parseBundle } from '@enclaim/attestation/bundle';
import { utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { type ImageReference, launchCommandLine, SEALING_REGISTERS } from '@enclaim/attestation/measure';
import { ed25519Key } from '@enclaim/attestation/statement';
import {
  encodeSuccession,
  proposeSuccession,
  readSuccession,
  type SuccessionFile,
  type SuccessionLaunch,
  signSuccession,
} from '@enclaim/attestation/succession';
import { CallError, connect } from '@enclaim/client';
import { describeServices } from '@enclaim/client/network';
import { SuccessionCourier, type SuccessionState } from '@enclaim/client/successions';
import { type BuiltBundle, buildBundle } from '@enclaim/image';
import { RefusalError } from '@enclaim/runtime';
import { Client, credentials } from '@grpc/grpc-js';
import { EXIT } from '../cli/src/exit-status.ts';
import { EpochCounter } from '../guest/src/tpm/epoch-counter.ts';
import { Tpm } from '../guest/src/tpm/tpm.ts';
import { type Swtpm, startSwtpm } from './fakes/swtpm.ts';
import { type AttestedRuntime, bootAttested, PRETEND_IMAGE } from './support/attested-runtime.ts';
import { enclaim } from './support/command.ts';
import { eventually, HANGS_MS } from './support/eventually.ts';

const APP = join(import.meta.dirname, 'sealed-app');
const NOTE = { key: 'a-key', text: 'a text that outlives a policy' };
const KEYS = [0, 1, 2].map(() => generateKeyPairSync('ed25519').privateKey);
const [FIRST, SECOND, STRANGER] = KEYS as [KeyObject, KeyObject, KeyObject];
const nameOf = (key: KeyObject) => ed25519Key(Buffer.from(String(key.export({ format: 'jwk' }).x), 'base64url'));
const NOTICE_S = 3600;
const OTHER_IMAGE: ImageReference = { ...PRETEND_IMAGE, uki: digestText('sha256', sha256(utf8('another uki'))) };

/** One launch: what it boots. */
interface Launch {
  readonly bundle: BuiltBundle;
  readonly image?: ImageReference;
  readonly words?: string;
}

let folder: string;
let base: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-succession-'));
  base = await readFile(join(APP, 'policy.yaml'), 'utf8');
});
after(() => rm(folder, { recursive: true }));

/** The app under a policy with successors, changed. */
async function bundleOf(change: (policy: string) => string, succeeds?: BuiltBundle): Promise<BuiltBundle> {
  const signers = [FIRST, SECOND].map(nameOf).join(', ');
  const rule = `succession: { signers: ["${signers.replace(', ', '", "')}"], threshold: 2, notice: PT${NOTICE_S}S }\n`;
  let policy = change(base) + rule;
  if (succeeds !== undefined) policy = policy.replace(/version: 1\b/, `version: 2, succeeds: "${succeeds.policy}"`);
  const policyFile = join(folder, `policy-${Math.random()}.yaml`);
  await writeFile(policyFile, policy);
  return buildBundle({ policyFile, protoDir: join(APP, 'proto'), handlersEntry: join(APP, 'handlers/index.ts') });
}

const launchOf = ({ bundle, image = PRETEND_IMAGE, words = '' }: Launch): SuccessionLaunch => ({
  policy: bundle.policy,
  image,
  boot: 'kernel',
  commandLine: commandLineOf({ bundle, image, words }),
});
const commandLineOf = ({ bundle, image = PRETEND_IMAGE, words = '' }: Launch): string =>
  launchCommandLine({ commandLine: `${image.commandLine}${words}` }, bundle.policy);
const policyOf = ({ bundle }: Launch): Uint8Array => parseBundle(bundle.bytes).policy;

/** A machine with its TPM and its disk, and at most one boot. */
class Machine {
  readonly disk: string;
  readonly #swtpm: Swtpm;
  #server: AttestedRuntime | undefined;

  constructor(swtpm: Swtpm) {
    this.#swtpm = swtpm;
    this.disk = join(folder, `disk-${Math.random()}`);
  }

  /** @param isCut whether the boot ends before its first quote, as a cut of the power ends it */
  async boot(launch: Launch, now = 0, isCut = false): Promise<AttestedRuntime> {
    await this.stop();
    await this.#swtpm.powerCycle();
    const image = launch.image ?? PRETEND_IMAGE;
    const time = { wall: Date.now() + now, monotonic: Number(process.hrtime.bigint()) / 1e6 };
    const server = await bootAttested(launch.bundle, {
      ...{ swtpm: this.#swtpm, logFile: this.disk, image, time },
      commandLine: commandLineOf(launch),
      ...(isCut && { platform: (honest) => ({ ...honest, sign: () => Promise.reject(new Error('power cut')) }) }),
    });
    const images = [{ ...image, commandLine: `${image.commandLine}${launch.words ?? ''}` }];
    this.#server = { ...server, references: { ...server.references, images } };
    return this.#server;
  }

  get server(): AttestedRuntime {
    return this.#server ?? assert.fail('no machine runs');
  }

  async stop(): Promise<void> {
    const running = this.#server;
    this.#server = undefined;
    await running?.stop();
  }

  /** Hands a succession in. @returns whether the state is handed over */
  async hand(file: SuccessionFile): Promise<boolean> {
    const { target, references } = this.server;
    await using channel = await connect(target, { references });
    return (await new SuccessionCourier(channel).hand(encodeSuccession(file))).handed;
  }

  async show(): Promise<SuccessionState> {
    const { target, references } = this.server;
    await using channel = await connect(target, { references });
    return await new SuccessionCourier(channel).show();
  }

  async call(name: string, request: JsonValue): Promise<JsonValue> {
    const { target, references } = this.server;
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

  async holdsNote(): Promise<void> {
    assert.equal(((await this.call('Get', { key: NOTE.key })) as { long: string }).long, NOTE.text);
  }

  /** A boot that does not open the disk. */
  async isShut(launch: Launch, words = /./): Promise<void> {
    await assert.rejects(
      this.boot(launch),
      (error) => error instanceof RefusalError && ['state', 'keeper'].includes(error.code) && words.test(error.message),
    );
  }

  /** Removes the counter of a launch, as the owner of the TPM can. */
  async undefine(registers: readonly Uint8Array[]): Promise<void> {
    await this.stop();
    await this.#swtpm.powerCycle();
    const tpm = new Tpm(await this.#swtpm.connect());
    const values = new Map(registers.map((value, i) => [SEALING_REGISTERS[i] ?? 0, value] as const));
    await new EpochCounter(tpm, new Map([['sha256', values]])).remove();
    await tpm.close();
  }

  /** A succession of the state as it is now. */
  async proposed(from: Launch, to: Launch, notBefore = new Date(0)): Promise<SuccessionFile> {
    const { state } = await this.show();
    return proposeSuccession(
      { from: launchOf(from), to: launchOf(to) },
      { from: policyOf(from), to: policyOf(to) },
      { state: state as `sha256:${string}`, notBefore: notBefore.toISOString() },
    );
  }
}

async function machineWith(t: { after(end: () => unknown): void }, launch: Launch): Promise<Machine> {
  const swtpm = await startSwtpm({ certified: true });
  const machine = new Machine(swtpm);
  t.after(async () => {
    await machine.stop();
    await swtpm.stop();
  });
  await machine.boot(launch);
  await machine.call('Put', NOTE);
  return machine;
}

const signed = (file: SuccessionFile, ...keys: readonly KeyObject[]): SuccessionFile =>
  keys.reduce((sofar, key) => signSuccession(sofar, nameOf(key), (message) => sign(null, message, key)), file);
const refused = (code: string, words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof CallError, String(error));
  assert.match(error.message, words);
  assert.equal(error.code, code);
  return true;
};
const isStronger = (policy: string): string => policy.replace('retention: P30D', 'retention: P20D');
const isWeaker = (policy: string): string => policy.replace('retention: P30D', 'retention: P60D');

test('a stronger policy that both signers name opens the state, says where it came from, and the old one no longer does', async (t) => {
  const old: Launch = { bundle: await bundleOf((policy) => policy) };
  const next: Launch = { bundle: await bundleOf(isStronger, old.bundle) };
  const machine = await machineWith(t, old);
  await machine.isShut(next);
  await machine.boot(old);
  const file = signed(await machine.proposed(old, next), FIRST, SECOND);
  assert.equal(await machine.hand(file), true);
  await machine.call('Put', { ...NOTE, key: 'after' });
  const { state: before } = await machine.show();
  const heir = await machine.boot(next);
  const { storage } = heir.runtime.statement;
  assert.deepEqual([storage?.began, storage?.epoch, storage?.predecessor?.policy], ['inherited', 1, old.bundle.policy]);
  await machine.holdsNote();
  assert.notEqual((await machine.show()).state, before);
  await machine.isShut(old);
  assert.equal((await machine.boot(next)).runtime.statement.storage?.began, 'kept');
  await machine.holdsNote();
});

test('an heir whose first boot is cut off shuts the launch before, on every disk, and goes on as heir', async (t) => {
  const bundle = await bundleOf((policy) => policy);
  const at = (address: number): Launch => ({ bundle, words: ` enclaim.ip=10.0.0.${address}/24` });
  const machine = await machineWith(t, at(1));
  const disks = ['before', 'after'].map((name) => `${machine.disk}.${name}`) as [string, string];
  const file = signed(await machine.proposed(at(1), at(2)), FIRST);
  assert.equal(await machine.hand(file), true);
  await machine.stop();
  await copyFile(machine.disk, disks[0]);
  await assert.rejects(machine.boot(at(2), 0, true), /power cut/);
  await copyFile(machine.disk, disks[1]);
  // The counter of the launch before is there still: the host would let it go on, and the heir later.
  await copyFile(disks[0], machine.disk);
  await machine.isShut(at(1), /taken over/);
  await copyFile(disks[1], machine.disk);
  const { storage } = (await machine.boot(at(2))).runtime.statement;
  assert.deepEqual([storage?.began, storage?.epoch, storage?.predecessor?.policy], ['inherited', 2, bundle.policy]);
  await machine.holdsNote();
  assert.equal((await machine.boot(at(2))).runtime.statement.storage?.began, 'kept');
  assert.equal((await readFile(machine.disk)).toString('latin1').split('succession inherited').length, 2);
});

test('an operator whose new launch does not serve goes back, and the heir’s disk is then void', async (t) => {
  const bundle = await bundleOf((policy) => policy);
  const at = (address: number): Launch => ({ bundle, words: ` enclaim.ip=10.0.0.${address}/24` });
  const machine = await machineWith(t, at(1));
  const disks = ['before', 'after'].map((name) => `${machine.disk}.${name}`) as [string, string];
  const file = signed(await machine.proposed(at(1), at(2)), FIRST);
  assert.equal(await machine.hand(file), true);
  await machine.stop();
  await copyFile(machine.disk, disks[0]);
  await assert.rejects(machine.boot(at(2), 0, true), /power cut/);
  await copyFile(machine.disk, disks[1]);
  await copyFile(disks[0], machine.disk);
  await machine.undefine(readSuccession(encodeSuccession(file)).registers.to);
  await machine.boot(at(1));
  await machine.holdsNote();
  await machine.stop();
  await copyFile(disks[1], machine.disk);
  await machine.isShut(at(2));
});

test('what no quorum of signers has signed for this state is refused, and recorded nowhere', async (t) => {
  const old: Launch = { bundle: await bundleOf((policy) => policy) };
  const next: Launch = { bundle: await bundleOf(isStronger, old.bundle) };
  const other: Launch = { bundle: await bundleOf(isWeaker, old.bundle) };
  const machine = await machineWith(t, old);
  const file = await machine.proposed(old, next);
  const denied = (words: RegExp) => refused('PERMISSION_DENIED', words);
  await assert.rejects(machine.hand(file), denied(/0 signatures where 2/));
  await assert.rejects(machine.hand(signed(file, FIRST)), denied(/1 signatures where 2/));
  await assert.rejects(machine.hand(signed(file, FIRST, STRANGER)), denied(/no signer/));
  const twice = signed(file, FIRST);
  await assert.rejects(
    machine.hand({ ...twice, signatures: [...twice.signatures, ...twice.signatures] }),
    denied(/twice/),
  );
  // Signatures over another successor.
  const weaker = await machine.proposed(old, other);
  const { signatures } = signed(file, FIRST, SECOND);
  await assert.rejects(machine.hand({ ...weaker, signatures }), denied(/over something else/));
  // What the proposer says is recomputed here.
  const flattered = { ...weaker, document: { ...weaker.document, verdict: 'stronger' } } as const;
  await assert.rejects(
    machine.hand(signed(flattered, FIRST, SECOND)),
    denied(/weaker, and the succession says stronger/),
  );
  const elsewhere = { ...file, document: { ...file.document, state: digestText('sha256', sha256(utf8('other'))) } };
  await assert.rejects(machine.hand(signed(elsewhere, FIRST, SECOND)), denied(/another name/));
  assert.deepEqual(await machine.show(), { ...(await machine.show()), succession: null, due: null, handed: false });
  await machine.stop();
  assert.ok(!(await readFile(machine.disk)).includes('succession waits'));
  await machine.isShut(next);
  await machine.isShut(other);
});

test('a weaker policy waits for its notice, over boots, and passes when that is over', async (t) => {
  const old: Launch = { bundle: await bundleOf((policy) => policy) };
  const next: Launch = { bundle: await bundleOf(isWeaker, old.bundle) };
  const machine = await machineWith(t, old);
  const file = signed(await machine.proposed(old, next), FIRST, SECOND);
  const from = Date.now();
  assert.equal(await machine.hand(file), false);
  const { due } = await machine.show();
  assert.ok(Date.parse(due ?? '') >= from + NOTICE_S * 1000);
  await machine.isShut(next);
  // Handing it in again does not begin the notice anew, nor does a boot.
  await machine.boot(old);
  assert.equal(await machine.hand(file), false);
  assert.equal((await machine.show()).due, due);
  await machine.boot(old, NOTICE_S * 1000 + 1000);
  await eventually('the hand-over', async () => (await machine.show()).handed);
  const heir = await machine.boot(next, NOTICE_S * 1000 + 2000);
  assert.equal(heir.runtime.statement.storage?.began, 'inherited');
  await machine.holdsNote();
});

test('nothing passes before the time that signers have named', async (t) => {
  const old: Launch = { bundle: await bundleOf((policy) => policy) };
  const next: Launch = { bundle: await bundleOf(isStronger, old.bundle) };
  const machine = await machineWith(t, old);
  const file = await machine.proposed(old, next, new Date(Date.now() + 3_600_000));
  assert.equal(await machine.hand(signed(file, FIRST, SECOND)), false);
  assert.equal((await machine.show()).handed, false);
  await machine.isShut(next);
});

test('another address needs one signature, another image those of a weaker policy', async (t) => {
  const bundle = await bundleOf((policy) => policy);
  const old: Launch = { bundle };
  const moved: Launch = { bundle, words: ' enclaim.ip=10.0.0.7/24' };
  const updated: Launch = { bundle, image: OTHER_IMAGE, words: moved.words ?? '' };
  const machine = await machineWith(t, old);
  const file = await machine.proposed(old, moved);
  await assert.rejects(machine.hand(file), refused('PERMISSION_DENIED', /0 signatures where 1/));
  assert.equal(await machine.hand(signed(file, SECOND)), true);
  await machine.isShut(updated);
  const heir = await machine.boot(moved);
  assert.equal(heir.runtime.statement.storage?.began, 'inherited');
  await machine.holdsNote();
  await machine.isShut(old);
  await machine.boot(moved);
  const image = await machine.proposed(moved, updated);
  await assert.rejects(machine.hand(signed(image, FIRST)), refused('PERMISSION_DENIED', /1 signatures where 2/));
  assert.equal(await machine.hand(signed(image, FIRST, SECOND)), false);
  await machine.boot(moved, NOTICE_S * 1000 + 1000);
  await eventually('the hand-over', async () => (await machine.show()).handed);
  await machine.boot(updated, NOTICE_S * 1000 + 2000);
  await machine.holdsNote();
});

test('words of the kernel pass nothing, and neither does a launch that is not the one that runs', async (t) => {
  const bundle = await bundleOf((policy) => policy);
  const old: Launch = { bundle };
  const moved: Launch = { bundle, words: ' enclaim.ip=10.0.0.7/24' };
  const machine = await machineWith(t, old);
  await assert.rejects(machine.proposed(old, { bundle, words: ' init=/bin/sh' }), { code: 'launch' });
  await assert.rejects(machine.proposed(old, { bundle, words: ' enclaim.policy=x' }), { code: 'launch' });
  const file = await machine.proposed(moved, old);
  await assert.rejects(machine.hand(signed(file, FIRST)), refused('FAILED_PRECONDITION', /another launch/));
});

test('of two heirs the last one is it, and a succession of before passes nothing once the state has passed', async (t) => {
  const bundle = await bundleOf((policy) => policy);
  const at = (address: number): Launch => ({ bundle, words: ` enclaim.ip=10.0.0.${address}/24` });
  const machine = await machineWith(t, at(1));
  const [two, three] = [await machine.proposed(at(1), at(2)), await machine.proposed(at(1), at(3))];
  assert.equal(await machine.hand(signed(two, FIRST)), true);
  await machine.stop();
  await copyFile(machine.disk, `${machine.disk}.two`);
  await machine.boot(at(1));
  assert.equal(await machine.hand(signed(three, FIRST)), true);
  await assert.rejects(machine.hand(signed(two, FIRST)), refused('PERMISSION_DENIED', /was replaced/));
  await machine.isShut(at(2));
  await machine.boot(at(1));
  await assert.rejects(machine.hand(signed(two, FIRST)), refused('PERMISSION_DENIED', /was replaced/));
  assert.equal(await machine.hand(signed(three, FIRST)), true);
  // The host puts the disk back that the first heir would have opened.
  await machine.stop();
  await copyFile(machine.disk, `${machine.disk}.three`);
  await copyFile(`${machine.disk}.two`, machine.disk);
  await assert.rejects(machine.boot(at(2)), (error) => error instanceof RefusalError);
  await copyFile(`${machine.disk}.three`, machine.disk);
  await machine.boot(at(3));
  await machine.holdsNote();
  // Back to where it was, and then the first succession again.
  assert.equal(await machine.hand(signed(await machine.proposed(at(3), at(1)), FIRST)), true);
  await machine.boot(at(1));
  await machine.holdsNote();
  await assert.rejects(machine.hand(signed(two, FIRST)), refused('PERMISSION_DENIED', /another name/));
  // A disk of before the heir went on opens for no launch.
  await machine.stop();
  await copyFile(`${machine.disk}.three`, machine.disk);
  await assert.rejects(machine.boot(at(3)), (error) => error instanceof RefusalError);
  await assert.rejects(machine.boot(at(1)), (error) => error instanceof RefusalError);
});

test('a policy that has no successor takes none, and a shorter retention holds at once', async (t) => {
  const none: Launch = { bundle: await plainBundle() };
  const machine = await machineWith(t, none);
  await assert.rejects(machine.show(), refused('UNIMPLEMENTED', /./));
  const old: Launch = { bundle: await bundleOf((policy) => policy) };
  const short: Launch = { bundle: await bundleOf((policy) => policy.replace('P30D', 'PT1S'), old.bundle) };
  const other = await machineWith(t, old);
  assert.equal(await other.hand(signed(await other.proposed(old, short), FIRST, SECOND)), true);
  await other.boot(short, 25_000);
  assert.deepEqual(await other.call('Get', { key: NOTE.key }), {});
});

function plainBundle(): Promise<BuiltBundle> {
  const policyFile = join(APP, 'policy.yaml');
  return buildBundle({ policyFile, protoDir: join(APP, 'proto'), handlersEntry: join(APP, 'handlers/index.ts') });
}

test('owners do it from a shell: propose, sign, hand in, show', async (t) => {
  const old: Launch = { bundle: await bundleOf((policy) => policy) };
  const next: Launch = { bundle: await bundleOf(isStronger, old.bundle) };
  const machine = await machineWith(t, old);
  const at = (name: string): string => join(folder, name);
  const { target, references } = machine.server;
  await writeFile(at('references.json'), JSON.stringify(references));
  await writeFile(at('next.enclaim'), next.bundle.bytes);
  for (const [i, key] of [FIRST, SECOND, STRANGER].entries())
    await writeFile(at(`${i}.pem`), key.export({ type: 'pkcs8', format: 'pem' }));
  const known = [target, '--references', at('references.json'), '--quiet'];
  const succession = (...words: readonly string[]) => enclaim('policy', 'succession', ...words);
  const file = at('succession.json');
  const proposed = await succession(
    'propose',
    ...known,
    '--policy',
    at('next.enclaim'),
    '--ip',
    '10.0.0.9/24',
    '-o',
    file,
  );
  assert.equal(proposed.code, EXIT.ok, proposed.stderr);
  assert.match(proposed.stderr, /promises as much.*\nneeds 2 signatures and a notice of 0 s/);
  assert.equal((await succession('hand', ...known, '--file', file)).code, EXIT.answered);
  // A policy that no succession has room for is refused before it is written, and not once all have signed.
  const titles = Array.from({ length: 110 }, (_, i) => `  x-own/c${i}: "${'x'.repeat(900)}"`).join(',\n');
  const long = await bundleOf((policy) => `${isStronger(policy)}controls: {\n${titles} }\n`, old.bundle);
  await writeFile(at('long.enclaim'), long.bytes);
  const tooLong = ['--policy', at('long.enclaim'), '-o', at('long.json')];
  const refusedEarly = await succession('propose', ...known, ...tooLong);
  assert.deepEqual([refusedEarly.code, /leave room for signatures/.test(refusedEarly.stderr)], [EXIT.usage, true]);
  await assert.rejects(readFile(at('long.json')), { code: 'ENOENT' });
  const trusting = ['--references', at('references.json')];
  assert.equal((await succession('sign', file, '--key', at('2.pem'), ...trusting)).code, EXIT.usage);
  // An image of a known name that is another, and one that the signer has from the proposer alone.
  const swapped = { ...references, images: [{ ...PRETEND_IMAGE, kernel: OTHER_IMAGE.uki }] };
  await writeFile(at('swapped.json'), JSON.stringify(swapped));
  const misled = await succession('sign', file, '--key', at('0.pem'), '--references', at('swapped.json'));
  assert.equal(misled.code, EXIT.usage);
  assert.match(misled.stderr, /none of those that you name/);
  assert.match(misled.stdout, new RegExp(`kernel +${PRETEND_IMAGE.kernel}`));
  assert.equal((await succession('sign', file, '--key', at('0.pem'))).code, EXIT.usage);
  assert.match((await succession('show', '--file', file)).stdout, /nobody has signed it/);
  for (const i of [0, 1])
    assert.equal((await succession('sign', file, '--key', at(`${i}.pem`), ...trusting)).code, EXIT.ok);
  assert.match((await succession('show', '--file', file)).stdout, /signature of .*\nsignature of /);
  assert.match((await succession('show', ...known)).stdout, /no succession waits/);
  assert.match((await succession('hand', ...known, '--file', file)).stdout, /is handed over/);
  const shown = JSON.parse((await succession('show', ...known, '--json')).stdout);
  assert.deepEqual([shown.handed, shown.succession], [true, JSON.parse(await readFile(file, 'utf8'))]);
  await machine.boot({ ...next, words: ' enclaim.ip=10.0.0.9/24' });
  await machine.holdsNote();
});
