/** Calls: from a request's bytes to a response that is allowed, recorded and receipted. */

import { randomBytes } from 'node:crypto';
import {
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { toHex } from '@enclaim/attestation/bytes';
import { digestText } from '@enclaim/attestation/digest';
import { commitment, type ReceiptBody } from '@enclaim/attestation/receipt';
import {
  type Collection,
  type ExposedMethod,
  labelOf,
  requestLabel,
  secondsOf,
  uncovered,
} from '@enclaim/policy-schema/admission';
import type { Admission } from './admission.ts';
import { CallContext } from './context.ts';
import { type RefusalCode, RefusalError } from './errors.ts';
import type { RecordLog } from './log.ts';
import type { ReceiptSigner } from './receipts.ts';
import { VolatileCollection } from './store.ts';
import type { WorkerPool } from './worker/pool.ts';
import type { Json } from './worker/protocol.ts';

/** gRPC status codes that this runtime answers with. */
export const STATUS = {
  ok: 0,
  invalidArgument: 3,
  permissionDenied: 7,
  resourceExhausted: 8,
  internal: 13,
  unavailable: 14,
} as const;

const STATUS_OF: Readonly<Record<RefusalCode, number>> = {
  policy: STATUS.internal,
  descriptors: STATUS.internal,
  claim: STATUS.internal,
  request: STATUS.invalidArgument,
  response: STATUS.internal,
  flow: STATUS.permissionDenied,
  grant: STATUS.permissionDenied,
  budget: STATUS.resourceExhausted,
  worker: STATUS.internal,
  log: STATUS.unavailable,
  channel: STATUS.unavailable,
};

/** How a call ended. `receipt` is absent only where the log failed: then nothing was decided. */
export interface Answer {
  readonly status: number;
  /** For people; names rules and categories, never data. */
  readonly message: string;
  /** The response message, where the status is ok. */
  readonly response: Uint8Array;
  readonly receipt?: Uint8Array;
}

/** What a handler made of a request, before anything is recorded. */
interface Outcome {
  readonly refusal: RefusalError | null;
  readonly response: Uint8Array;
  readonly label: readonly string[];
  readonly returned: readonly string[];
}

const NOTHING = new Uint8Array();

/** Everything a call needs. */
export interface CallsOptions {
  readonly admission: Admission;
  readonly pool: WorkerPool;
  readonly log: RecordLog;
  readonly receipts: ReceiptSigner;
  /** Digest of the boot statement, 32 bytes. */
  readonly boot: Uint8Array;
}

/** The methods of one policy, at work. */
export class Calls {
  readonly #options: CallsOptions;
  readonly #collections: ReadonlyMap<string, { readonly holds: readonly string[]; readonly store: VolatileCollection }>;
  readonly #claim: string | null;
  #sequence = 0;

  constructor(options: CallsOptions) {
    this.#options = options;
    const { collections, claims } = options.admission.policy;
    this.#collections = new Map(
      Object.entries(collections).map(([name, collection]) => [
        name,
        { holds: collection.holds, store: new VolatileCollection(name, retentionOf(collection)) },
      ]),
    );
    this.#claim = claims.find(({ kind }) => kind === 'access-logged')?.id ?? null;
  }

  /** Answers one call. Never throws: whatever goes wrong ends in an answer. */
  async answer(method: ExposedMethod, request: Uint8Array, signal: AbortSignal): Promise<Answer> {
    const outcome = await this.#execute(method, request, signal);
    try {
      const record = await this.#record(method, outcome);
      const receipt = await this.#receipt(method, request, outcome, record);
      return { ...statusOf(outcome), response: outcome.response, receipt };
    } catch {
      // No log, no response: the handler's work is kept back, whatever it was.
      return { status: STATUS.unavailable, message: 'the response could not be recorded', response: NOTHING };
    }
  }

  async #execute(method: ExposedMethod, request: Uint8Array, signal: AbortSignal): Promise<Outcome> {
    let context: CallContext | undefined;
    try {
      const { descriptor, rule } = method;
      const message = reading('request', descriptor.input, () => fromBinary(descriptor.input, request));
      const sent = reading('request', descriptor.input, () => requestLabel(method, message));
      context = new CallContext(method, this.#collections, sent);
      const over = uncovered(rule.accepts, sent);
      if (over.length > 0) throw new RefusalError('flow', `${method.id} does not accept ${over.join(', ')}`);
      const current = context;
      const made = await this.#options.pool.run({
        message: {
          method: method.id,
          request: this.#toJson(descriptor.input, message),
          streams: { request: false, response: false },
          reads: rule.reads,
          stores: rule.stores,
          releases: [],
          time: new Date().toISOString(),
          id: toHex(randomBytes(16)),
          seed: toHex(randomBytes(32)),
        },
        perform: (operation) => current.perform(operation),
        signal,
      });
      const response = this.#fromJson(descriptor.output, made);
      const returned = reading('response', descriptor.output, () => labelOf(descriptor.output, response));
      context.release(returned);
      const label = context.label;
      return { refusal: null, response: toBinary(descriptor.output, response), label, returned: [...returned].sort() };
    } catch (error) {
      const refusal = error instanceof RefusalError ? error : new RefusalError('worker', 'the call failed');
      return { refusal, response: NOTHING, label: context?.label ?? [], returned: [] };
    }
  }

  #toJson(descriptor: DescMessage, message: Message): Json {
    return toJson(descriptor, message, { registry: this.#options.admission.descriptors.registry }) as Json;
  }

  #fromJson(descriptor: DescMessage, json: Json): Message {
    const { registry } = this.#options.admission.descriptors;
    return reading('response', descriptor, () =>
      fromJson(descriptor, json as JsonValue, { registry, ignoreUnknownFields: false }),
    );
  }

  #record({ id }: ExposedMethod, { refusal, label }: Outcome): Promise<Uint8Array> {
    const { policy, digest } = this.#options.admission;
    return this.#options.log.append({
      v: 1,
      id: toHex(randomBytes(16)),
      time: new Date().toISOString(),
      timeStrength: 'host',
      layer: 'runtime',
      system: policy.system.name,
      policyDigest: digest,
      claim: this.#claim,
      controls: [],
      decision: resultOf(refusal),
      reason: refusal === null ? 'ok' : refusal.code,
      method: id,
      label: [...label],
      sink: null,
      figures: {},
      basis: 'enforced',
    });
  }

  #receipt(method: ExposedMethod, request: Uint8Array, outcome: Outcome, record: Uint8Array): Promise<Uint8Array> {
    const salt = randomBytes(16);
    const sent = outcome.refusal === null ? [outcome.response] : [];
    const body: ReceiptBody = {
      version: 1,
      boot: digestText('sha256', this.#options.boot),
      policy: this.#options.admission.digest,
      method: method.id,
      salt: toHex(salt),
      request: digestText('sha256', commitment('request', salt, [request])),
      response: digestText('sha256', commitment('response', salt, sent)),
      status: statusOf(outcome).status,
      decision: { result: resultOf(outcome.refusal), label: [...outcome.label], returned: [...outcome.returned] },
      sequence: this.#sequence++,
      record: digestText('sha256', record),
      time: new Date().toISOString(),
    };
    return this.#options.receipts.sign(body);
  }
}

function statusOf({ refusal }: Outcome): { status: number; message: string } {
  return refusal === null
    ? { status: STATUS.ok, message: '' }
    : { status: STATUS_OF[refusal.code], message: refusal.message };
}

function resultOf(refusal: RefusalError | null): 'allow' | 'deny' | 'error' {
  if (refusal === null) return 'allow';
  return refusal.code === 'flow' || refusal.code === 'grant' ? 'deny' : 'error';
}

/** Reads a message of either side. @throws RefusalError `code`, for fields without a category too */
function reading<T>(code: 'request' | 'response', descriptor: DescMessage, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new RefusalError(code, `the ${code} is not a ${descriptor.typeName}`, { cause });
  }
}

/** Milliseconds that a collection keeps a value. */
function retentionOf({ retention }: Collection): number {
  return retention === 'unlimited' ? Number.POSITIVE_INFINITY : secondsOf(retention) * 1000;
}
