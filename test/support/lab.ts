/** A runtime's inside without TPM and TLS: a policy, handlers as text, real workers, and a log that can be read. */

import { join } from 'node:path';
import { fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { compileProtos } from '@enclaim/image';
import { canonicalPolicy, type Policy, parsePolicy, policyDigest, readDescriptors } from '@enclaim/policy-schema';
import { interfaceDigest, type WorkerClass } from '@enclaim/policy-schema/admission';
import { type Admission, admit } from '../../runtime/src/admission/admission.ts';
import type { Answer } from '../../runtime/src/call/caller.ts';
import { Calls as WholeCalls } from '../../runtime/src/call/calls.ts';
import { anchorTime, BootClock } from '../../runtime/src/clock.ts';
import { EgressBroker } from '../../runtime/src/egress/broker.ts';
import type { Resolve } from '../../runtime/src/egress/resolver.ts';
import { type Vault, VolatileVault } from '../../runtime/src/egress/vault.ts';
import type { Readings } from '../../runtime/src/governor/readings.ts';
import { type Capacity, ResourceGovernor } from '../../runtime/src/governor/resources.ts';
import { ReceiptSigner } from '../../runtime/src/log/receipts.ts';
import { type Entry, type RecordLog, ZERO_HASH } from '../../runtime/src/log/record-log.ts';
import type { Messages as WholeMessages } from '../../runtime/src/message/transcoder/messages.ts';
import { WorkerClasses, workerShares } from '../../runtime/src/worker/classes.ts';
import type { WorkerFactory } from '../../runtime/src/worker/worker.ts';
import { HANGS_MS } from './eventually.ts';
import { startWorkers } from './worker-process.ts';

const METHODS = ['Put', 'Read', 'Sum', 'Collect', 'Watch', 'Chat', 'Tell'] as const;
/** A method of the laboratory (test/hostile/proto/lab/v1/lab.proto). */
export type LabMethod = (typeof METHODS)[number];

const descriptorBytes = await compileProtos(join(import.meta.dirname, '../hostile/proto'));
const descriptors = readDescriptors(descriptorBytes);

const ALL = ['personal', 'operational'];

/** All that the laboratory's .proto has of each subprocessor. */
const CALLS: Readonly<Record<string, readonly string[]>> = {
  mailer: ['lab.v1.Mail/Send', 'POST /v1/drop', 'lab.v1.Mail/Ask', 'POST /v1/post'],
  archive: ['lab.v1.Archive/Keep'],
};

/** What differs from the laboratory's own policy. */
export interface LabPolicy {
  /** What methods may return that by default may return `operational` only. */
  readonly returns?: readonly string[];
  /** What `open` holds, by default `operational`. */
  readonly open?: readonly string[];
  readonly accepts?: readonly string[];
  readonly governance?: unknown;
  /** Whom `Tell` may call, by name; without, nobody is called and `Tell` is withheld. */
  readonly subprocessors?: Readonly<Record<string, object>>;
  /** The owner's key; without, there is none. */
  readonly owner?: string;
  /** Those of them that `Tell` and `Chat` may call; by default all. */
  readonly sends?: readonly string[];
  readonly declassify?: readonly object[];
  readonly claims?: readonly object[];
  /** Events that handlers may log. */
  readonly events?: readonly string[];
  /** Whether `cases` has notes, listed by key and text, and `open` acknowledgements, by key and count. */
  readonly indexed?: boolean;
}

/** The laboratory's policy: `cases` holds everything, `open` only what is operational. */
export function labPolicy({
  returns = ['operational'],
  open = ['operational'],
  accepts = ALL,
  governance = {},
  subprocessors = {},
  owner,
  declassify = [],
  claims = [],
  events = ['x', 'tick', 'found', 'has-hiv', 'about-jane'],
  sends = Object.keys(subprocessors),
  indexed = false,
}: LabPolicy = {}): Policy {
  const rule = (name: string, rest: object): object => {
    const method = descriptors.registry.getService('lab.v1.Lab')?.methods.find((each) => each.name === name);
    if (method === undefined) throw new TypeError(`no method ${name}`);
    return { purpose: 'test', callers: ['anyone'], accepts, interface: interfaceDigest(method), ...rest };
  };
  const policy = {
    enclaim: 1,
    system: {
      name: 'lab',
      owner: { name: 'Lab', contact: 'lab@lab.example', ...(owner && { key: owner }) },
      version: 1,
    },
    data: {
      'personal.health': { description: 'notes', subjects: ['patient'] },
      'personal.contact.email': { description: 'addresses', subjects: ['patient'] },
      operational: { description: 'keys' },
    },
    services: {
      'lab.v1.Lab': {
        Put: rule('Put', { stores: ['cases'], returns }),
        Read: rule('Read', { reads: ['cases'], stores: ['open'], returns: ALL }),
        Sum: rule('Sum', { reads: ['cases', 'open'], stores: ['open'], returns }),
        Collect: rule('Collect', { reads: ['cases'], returns }),
        Watch: rule('Watch', { reads: ['cases'], returns }),
        Chat: rule('Chat', { reads: ['cases'], sends, returns }),
        ...(sends.length > 0 && { Tell: rule('Tell', { reads: ['cases'], stores: ['open'], sends, returns }) }),
      },
    },
    collections: {
      cases: {
        ...{ holds: ALL, storage: 'volatile', retention: 'P1D' },
        ...(indexed && { message: 'lab.v1.Note', indexes: ['key', 'text'] }),
      },
      open: {
        ...{ holds: open, storage: 'volatile', retention: 'P1D' },
        ...(indexed && { message: 'lab.v1.Ack', indexes: ['key', 'count'] }),
      },
    },
    subprocessors: Object.fromEntries(
      Object.entries(subprocessors).map(([name, given]) => [name, { calls: CALLS[name] ?? [], ...given }]),
    ),
    declassify,
    governance,
    claims: [
      { id: 'closed', kind: 'no-undisclosed-recipients', statement: 'Nobody else gets it.', controls: [] },
      ...claims,
    ],
    evidence: { durability: 'before-response', retention: 'P1Y', ...(events.length > 0 && { events }) },
  };
  return parsePolicy(JSON.stringify(policy));
}

/** A running laboratory. */
export interface Lab {
  readonly admission: Admission;
  readonly pool: WorkerClasses;
  readonly calls: WholeCalls;
  /** What was recorded, in order. */
  readonly records: readonly Entry[];
  /** Why workers ended. */
  readonly lost: readonly string[];
  call(method: LabMethod, request: JsonValue | readonly JsonValue[], signal?: AbortSignal): Promise<LabAnswer>;
  close(): void;
}

/** An answer in the terms of the handlers. */
export interface LabAnswer extends Answer {
  /** The response messages; empty where the call was refused. */
  readonly messages: readonly JsonValue[];
}

/** What a laboratory is made of. */
export interface LabOptions {
  readonly policy?: LabPolicy;
  /**
   * The handlers' bundle, or bodies of `async (request, ctx) => …` by method. Other methods answer with nothing, where one of
   * their class has a body; no workers are started for the other classes.
   */
  readonly handlers: string | Partial<Record<LabMethod, string>>;
  readonly factory?: WorkerFactory;
  readonly size?: number;
  readonly stall?: number;
  /** Megabytes of JavaScript that a worker may have. */
  readonly heap?: number;
  /** What the workers have, and what the machine shows: without strain, by default. */
  readonly capacity?: Capacity;
  readonly readings?: () => Readings;
  /** The runtime's part, where it is not whole. */
  readonly Calls?: typeof WholeCalls;
  readonly Messages?: typeof WholeMessages;
  readonly Governor?: typeof ResourceGovernor;
  /** What the names of subprocessors lead to: by default this machine. */
  readonly resolve?: Resolve;
  readonly Broker?: typeof EgressBroker;
  readonly vault?: Vault;
  /** Milliseconds that a subprocessor has. */
  readonly patience?: number;
  /** Settles as each record does on the disk. */
  readonly durable?: () => Promise<void>;
  readonly Classes?: typeof WorkerClasses;
  /** Another partition than that of the policy. */
  readonly classes?: (of: readonly WorkerClass[]) => readonly WorkerClass[];
  readonly log?: Pick<RecordLog, 'place' | 'pending'>;
  /** The clock of retention. */
  readonly monotonic?: () => number;
}

/** Opens one. */
export async function openLab({
  policy,
  handlers,
  heap = 160,
  factory = startWorkers(heap),
  size = 1,
  stall = 30_000,
  capacity = { memory: heap * size * 1024 * 1024, processors: size },
  readings = () => ({ pressure: { memory: 0, cpu: 0 }, warmest: null }),
  Calls = WholeCalls,
  Messages,
  Governor = ResourceGovernor,
  resolve = async () => ['127.0.0.1'],
  Broker = EgressBroker,
  vault = new VolatileVault(Date.now),
  patience = 3000,
  durable = async () => {},
  Classes = WorkerClasses,
  classes = (those) => those,
  log,
  monotonic,
}: LabOptions): Promise<Lab> {
  const compiled = labPolicy(policy);
  const admitted = admit(canonicalPolicy(compiled), descriptorBytes, policyDigest(compiled));
  const admission = Messages === undefined ? admitted : { ...admitted, messages: new Messages(admitted) };
  const records: Entry[] = [];
  const lost: string[] = [];
  const memory = {
    pending: undefined as Promise<unknown> | undefined,
    place: (entry: Entry) => {
      records.push(entry);
      const written = durable();
      memory.pending = written;
      return { index: records.length - 1, hash: ZERO_HASH, durable: written };
    },
  };
  const code = typeof handlers === 'string' ? handlers : bundleOf(handlers);
  const { governance, subprocessors } = compiled;
  const { resources } = governance;
  const parts = classes(admission.classes);
  const governor =
    resources === 'none'
      ? undefined
      : new Governor(resources, workerShares(parts, { size, capacity }), capacity, readings);
  const pool = await Classes.start(
    { factory, size, stall, onLost: (reason) => void lost.push(reason) },
    { code, metered: governor !== undefined },
    parts.filter(
      ({ methods }) => typeof handlers === 'string' || methods.some((id) => id.replace('lab.v1.Lab/', '') in handlers),
    ),
  );
  const receipts = new ReceiptSigner(() => new Uint8Array(64));
  const boot = new BootClock(anchorTime());
  const clock = { now: () => (monotonic === undefined ? boot.now() : monotonic()), text: () => boot.text() };
  const calls = new Calls({
    admission,
    pool,
    log: log ?? memory,
    receipts,
    boot: new Uint8Array(32),
    clock,
    egress: new Broker({ subprocessors, resolve, vault, now: () => clock.now(), timeout: patience }),
    ...(governor && { governor }),
  });
  return {
    admission,
    pool,
    calls,
    records,
    lost,
    close: () => pool.close(),
    call: callerOf(admission, calls),
  };
}

/** Calls methods by JSON, as one caller after another. */
function callerOf(admission: Lab['admission'], calls: Lab['calls']): Lab['call'] {
  return async (name, request, signal = AbortSignal.timeout(HANGS_MS)) => {
    const method = admission.exposed.find(({ descriptor }) => descriptor.name === name);
    if (method === undefined) throw new TypeError(`${name} is withheld`);
    const { input, output, methodKind } = method.descriptor;
    const requests: Iterator<JsonValue> = (
      Array.isArray(request) ? (request as JsonValue[]) : [request as JsonValue]
    ).values();
    const sent: Uint8Array[] = [];
    const answer = await calls.answer(method, {
      next: async () => {
        const { done, value } = requests.next();
        return done ? undefined : toBinary(input, fromJson(input, value));
      },
      send: async (message) => void sent.push(message),
      signal,
    });
    if (answer.status === 0 && (methodKind === 'unary' || methodKind === 'client_streaming'))
      sent.push(answer.response);
    return { ...answer, messages: sent.map((bytes) => toJson(output, fromBinary(output, bytes))) };
  };
}

/** One class of all methods, for calls that have to meet in a worker. */
export function oneClass(classes: readonly WorkerClass[]): readonly WorkerClass[] {
  return [{ methods: classes.flatMap(({ methods }) => methods), learns: [] }];
}

/** Handlers from bodies. `Watch` and `Chat` are generators; `Collect` and `Chat` get an iterable of requests. */
export function bundleOf(bodies: Partial<Record<LabMethod, string>>, top = ''): string {
  const handlers = METHODS.map((name) => {
    const star = name === 'Watch' || name === 'Chat' ? '*' : '';
    return `${JSON.stringify(`lab.v1.Lab/${name}`)}: async function${star} (request, ctx) { ${bodies[name] ?? ''} }`;
  });
  return `${top}\nexports.handlers = { ${handlers.join(',\n')} };`;
}
