/** Attacks on successions: having state pass to a launch that signers have not named, or before its time. */

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toBase64, utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { launchCommandLine } from '@enclaim/attestation/measure';
import { ed25519Key } from '@enclaim/attestation/statement';
import {
  encodeSuccession,
  type SuccessionDocument,
  type SuccessionFile,
  signSuccession,
} from '@enclaim/attestation/succession';
import { canonicalPolicy, diff, parsePolicy, policyDigest } from '@enclaim/policy-schema';
import { Command } from 'commander';
import type * as verifyModule from '../../attestation/src/succession.ts';
import type * as commandModule from '../../cli/src/policy/succession.ts';
import type { GrpcCall } from '../../runtime/src/channel/grpc-call.ts';
import type * as serviceModule from '../../runtime/src/channel/succession-service.ts';
import { RefusalError } from '../../runtime/src/errors.ts';
import type { Bequest } from '../../runtime/src/storage/sealed/sealed-store.ts';
import type * as successionsModule from '../../runtime/src/storage/sealed/successions.ts';
import { PRETEND_IMAGE } from '../support/attested-runtime.ts';
import type { Attack } from './attack.ts';
import { weakened } from './weakened.ts';

const VERIFY = 'attestation/src/succession.ts';
const SUCCESSIONS = 'runtime/src/storage/sealed/successions.ts';
const COMMAND = 'cli/src/policy/succession.ts';
const SERVICE = 'runtime/src/channel/succession-service.ts';
const key = (): KeyObject => generateKeyPairSync('ed25519').privateKey;
const [FIRST, SECOND, STRANGER] = [key(), key(), key()];
const nameOf = (one: KeyObject) => ed25519Key(Buffer.from(String(one.export({ format: 'jwk' }).x), 'base64url'));
const STATE = digestText('sha256', sha256(utf8('state')));
const BASE = readFileSync(join(import.meta.dirname, '../sealed-app/policy.yaml'), 'utf8');
const RULE = `succession: { signers: ["${nameOf(FIRST)}", "${nameOf(SECOND)}"], threshold: 2, notice: P7D }\n`;
const policyOf = (change: (text: string) => string) => parsePolicy(change(BASE) + RULE);
const OLD = policyOf((text) => text);
const succeeding = (text: string): string => text.replace('version: 1', `version: 2, succeeds: "${policyDigest(OLD)}"`);
const STRONGER = policyOf((text) => succeeding(text).replace('P30D', 'P20D'));
const WEAKER = policyOf((text) => succeeding(text).replace('P30D', 'P60D'));
const UNRELATED = policyOf((text) => text.replace('P30D', 'P20D'));

/** A succession as an attacker writes it: nothing of it is checked here. */
function written(to = STRONGER, change: Partial<SuccessionDocument> = {}, words = ''): SuccessionFile {
  const launch = (policy: typeof OLD, more = '') => ({
    policy: policyDigest(policy),
    image: PRETEND_IMAGE,
    boot: 'kernel' as const,
    commandLine: launchCommandLine({ commandLine: PRETEND_IMAGE.commandLine + more }, policyDigest(policy)),
  });
  const { verdict } = diff(OLD, to);
  const notBefore = new Date(0).toISOString();
  const document = { from: launch(OLD), to: launch(to, words), state: STATE, verdict, notBefore, ...change };
  const policies = { from: toBase64(canonicalPolicy(OLD)), to: toBase64(canonicalPolicy(to)) };
  return { enclaim: 'succession/1', document, policies, signatures: [] };
}
const signed = (file: SuccessionFile, ...keys: KeyObject[]): SuccessionFile =>
  keys.reduce((sofar, one) => signSuccession(sofar, nameOf(one), (bytes) => sign(null, bytes, one)), file);
const whole = (file: SuccessionFile): Uint8Array => encodeSuccession(signed(file, FIRST, SECOND));
const succeeds = (work: () => Promise<unknown>): Promise<boolean> =>
  work().then(
    (result) => result !== false,
    () => false,
  );

/** Successions that must not hold, by the layer that refuses them. */
const VERIFIED: Readonly<Record<string, Readonly<Record<string, () => Uint8Array>>>> = {
  'signers of the policy before': {
    'sign for a signer who was not asked': () => encodeSuccession(signed(written(), FIRST, STRANGER)),
    'sign twice for one signer': () => {
      const file = signed(written(), FIRST);
      return encodeSuccession({ ...file, signatures: [...file.signatures, ...file.signatures] });
    },
  },
  'signatures of a succession': {
    'show signatures over another successor': () =>
      encodeSuccession({ ...written(WEAKER), signatures: signed(written(), FIRST, SECOND).signatures }),
  },
  'number of signers': {
    'pass state that one of two has signed for': () => encodeSuccession(signed(written(), FIRST)),
    'pass state that nobody has signed for': () => encodeSuccession(written()),
  },
  'successors name what they succeed': {
    'have a policy take state over that does not say so': () => whole(written(UNRELATED)),
  },
  'direction of a succession': {
    'have signers sign a weaker policy as a stronger one': () => whole(written(WEAKER, { verdict: 'stronger' })),
  },
  'words of a command line that passes state': {
    'pass state to a kernel with another word': () => whole(written(STRONGER, {}, ' init=/bin/sh')),
  },
  'successors that are another launch': {
    'have the state pass to the launch that has it': () => whole(written(OLD)),
  },
  'policies of a succession': {
    'show another policy than that which is launched': () => {
      const file = written(WEAKER);
      const to = toBase64(canonicalPolicy(STRONGER));
      const { verdict } = diff(OLD, STRONGER);
      return whole({ ...file, document: { ...file.document, verdict }, policies: { ...file.policies, to } });
    },
  },
};

async function verifies(off: readonly string[], bytes: Uint8Array): Promise<boolean> {
  const { verifySuccession } = (await import(weakened(VERIFY, { off }))) as typeof verifyModule;
  return succeeds(() => verifySuccession(bytes));
}

/** Successions of a machine whose state has this name, and the succession that it is handed over by. */
async function machineOf(off: readonly string[]) {
  const { Successions } = (await import(weakened(SUCCESSIONS, { off }))) as typeof successionsModule;
  let handed: Bequest | undefined;
  const store = {
    state: STATE,
    tryPassage: async () => {},
    bequeath: async (bequest: Bequest | undefined) => {
      handed = bequest;
    },
    get handed() {
      return handed;
    },
  };
  const collection = { get: () => undefined, check: () => {}, apply: () => {} };
  const successions = await Successions.open({
    ...{ store, collection, policy: policyDigest(OLD), clock: { now: () => Date.UTC(2026, 10, 1) } },
    record: async () => {},
  } as unknown as Parameters<typeof Successions.open>[0]);
  return { successions, handed: () => handed && toBase64(handed.succession) };
}

/** Whether the state of a machine is handed over by the last of some successions, handed in one by one. */
async function passes(off: readonly string[], ...files: readonly Uint8Array[]): Promise<boolean> {
  const { successions, handed } = await machineOf(off);
  const last = files.at(-1) ?? new Uint8Array();
  try {
    for (const file of files.slice(0, -1)) await successions.hand(file);
    await succeeds(() => successions.hand(last));
    return handed() === toBase64(last);
  } finally {
    await successions.close();
  }
}

/** Whether an heir still has the state while another, which has replaced it, waits for its notice. */
async function stays(off: readonly string[]): Promise<boolean> {
  const { successions, handed } = await machineOf(off);
  try {
    for (const file of [written(), written(WEAKER)]) await successions.hand(whole(file));
    return handed() !== undefined;
  } finally {
    await successions.close();
  }
}

async function inherits(off: readonly string[]): Promise<boolean> {
  const { inheritanceUnder } = (await import(weakened(SUCCESSIONS, { off }))) as typeof successionsModule;
  return succeeds(() => inheritanceUnder(policyDigest(UNRELATED))(whole(written())));
}

/** Whether a signer signs for a kernel that the proposer alone has named. */
async function signsFor(off: readonly string[]): Promise<boolean> {
  const { registerSuccession } = (await import(weakened(COMMAND, { off }))) as typeof commandModule;
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-signer-'));
  const at = (name: string): string => join(folder, name);
  const { log } = console;
  // The command shows what it signs.
  console.log = () => {};
  try {
    await writeFile(at('key.pem'), FIRST.export({ type: 'pkcs8', format: 'pem' }));
    await writeFile(at('succession.json'), encodeSuccession(written()));
    const images = [{ ...PRETEND_IMAGE, kernel: PRETEND_IMAGE.uki }];
    const anchors = { attestationKeys: [], endorsementRoots: [], unsafeSwtpmRoots: [], certificates: [] };
    const references = {
      enclaim: 'references/1',
      images,
      policy: policyDigest(OLD),
      bundles: 'any',
      owner: 'any',
      anchors,
    };
    await writeFile(at('references.json'), JSON.stringify(references));
    const program = new Command().exitOverride();
    registerSuccession(program);
    const words = ['sign', at('succession.json'), '--key', at('key.pem'), '--references', at('references.json')];
    return await succeeds(() => program.parseAsync(['succession', ...words], { from: 'user' }));
  } finally {
    console.log = log;
    await rm(folder, { recursive: true });
  }
}

/** What a machine does for strangers who hand in the same bytes again and again. */
async function repeated(
  off: readonly string[],
  bytes: Uint8Array,
): Promise<{ readonly judged: number; readonly begun: number; readonly errors: ReadonlySet<unknown> }> {
  const { Successions } = (await import(weakened(SUCCESSIONS, { off }))) as typeof successionsModule;
  const done = { judged: 0, begun: 0, errors: new Set<unknown>() };
  const store = {
    get state() {
      done.judged++;
      return STATE;
    },
    tryPassage: async () => {},
    bequeath: async () => {
      done.begun++;
      throw new RefusalError('keeper', 'the TPM is busy');
    },
    handed: undefined,
  };
  const collection = { get: () => undefined, check: () => {}, apply: () => {} };
  const successions = await Successions.open({
    ...{ store, collection, policy: policyDigest(OLD), clock: { now: () => Date.UTC(2026, 10, 1) } },
    record: async () => {},
  } as unknown as Parameters<typeof Successions.open>[0]);
  for (let i = 0; i < 5; i++) await successions.hand(bytes).catch((error: unknown) => done.errors.add(error));
  await successions.close();
  return done;
}

/** How many of some successions that hold nothing the service looks at. */
async function looks(
  off: readonly string[],
  {
    attempts,
    isAttested,
    isSlow,
  }: { readonly attempts: number; readonly isAttested: boolean; readonly isSlow: boolean },
): Promise<number> {
  const { SuccessionService } = (await import(weakened(SERVICE, { off }))) as typeof serviceModule;
  const { SuccessionError } = await import('@enclaim/attestation/succession');
  let seen = 0;
  const service = new SuccessionService({
    hand: () => {
      seen++;
      return isSlow ? new Promise(() => {}) : Promise.reject(new SuccessionError('signatures', 'none'));
    },
  } as unknown as ConstructorParameters<typeof SuccessionService>[0]);
  const [, hand] = service.methods.find(([path]) => path.endsWith('/Hand')) ?? [];
  const connection = { isAttested, number: '1' };
  for (let i = 0; i < attempts; i++) {
    const ended = Promise.withResolvers<void>();
    const call = { connection, next: async () => new Uint8Array(), end: () => ended.resolve() };
    hand?.serve(call as unknown as GrpcCall);
    if (!isSlow) await ended.promise;
  }
  await new Promise((resolve) => setImmediate(resolve));
  return seen;
}

function attackOf(layer: string, name: string, act: (off: readonly string[]) => Promise<boolean>): Attack {
  return { group: 'succession', name, layer, attempt: () => act([]), control: () => act([layer]) };
}

/** Every attack on successions. */
export const successionAttacks: readonly Attack[] = [
  ...Object.entries(VERIFIED).flatMap(([layer, named]) =>
    Object.entries(named).map(([name, bytes]) => attackOf(layer, name, (off) => verifies(off, bytes()))),
  ),
  attackOf('notice of what is weaker', 'pass state to a weaker policy at once', (off) =>
    passes(off, whole(written(WEAKER))),
  ),
  attackOf('time of a succession', 'pass state before the time that signers named', (off) =>
    passes(off, whole(written(STRONGER, { notBefore: '2030-01-01T00:00:00.000Z' }))),
  ),
  attackOf('successions of this state alone', 'hand in what was signed for a state of before', (off) =>
    passes(off, whole(written(STRONGER, { state: digestText('sha256', sha256(utf8('before'))) }))),
  ),
  attackOf('replaced successions', 'hand in again what signers have replaced', (off) => {
    const old = whole(written());
    return passes(off, old, whole(written(STRONGER, {}, ' enclaim.ip=10.0.0.7/24')), old);
  }),
  attackOf('successions of fewer signers', 'replace with one signature what two have signed', (off) => {
    const moved = written(OLD, {}, ' enclaim.ip=10.0.0.7/24');
    return passes(off, whole(written()), encodeSuccession(signed(moved, FIRST)));
  }),
  attackOf('images that a signer knows', 'have a signer pass state to a kernel of a known name', signsFor),
  attackOf('refused successions', 'have the same false succession verified without an end', async (off) => {
    return (await repeated(off, encodeSuccession(signed(written(), FIRST)))).errors.size > 1;
  }),
  attackOf('successions that wait already', 'have the one that waits verified without an end', async (off) => {
    return (await repeated(off, whole(written()))).judged > 1;
  }),
  attackOf('hand-overs that are waited for', 'have an epoch begin with each hand-over that fails', async (off) => {
    return (await repeated(off, whole(written()))).begun > 1;
  }),
  attackOf('withdrawal from an heir', 'go on as heir after another one was named', stays),
  attackOf('heirs by their policy', 'take over with another policy than the one that was named', inherits),
  attackOf('false successions of a connection', 'have policies compared without an end', async (off) => {
    return (await looks(off, { attempts: 9, isAttested: true, isSlow: false })) > 8;
  }),
  attackOf('successions that wait for a look', 'have many successions held at once', async (off) => {
    return (await looks(off, { attempts: 6, isAttested: true, isSlow: true })) > 4;
  }),
  attackOf('successions on attested connections', 'hand a succession to whoever answers', async (off) => {
    return (await looks(off, { attempts: 1, isAttested: false, isSlow: false })) > 0;
  }),
];
