/**
 * enclaim.v1.Keeper: keeps the present epoch of other machines' state, and its key, and tells it to
 * the machines of the same identity alone.
 */

import { randomFillSync } from 'node:crypto';
import { create, type DescMessage, toBinary } from '@bufbuild/protobuf';
import { MAX_EVIDENCE_BYTES, statementOfEvidence } from '@enclaim/attestation/evidence';
import {
  AdvanceRequestSchema,
  AdvanceResponseSchema,
  CHALLENGE_BYTES,
  ChallengeRequestSchema,
  ChallengeResponseSchema,
  KEPT_KEY_BYTES,
  KeeperDescriptor,
  type KeeperQuestion,
  keptName,
  ReleaseRequestSchema,
  ReleaseResponseSchema,
} from '@enclaim/attestation/keeper';
import type { KeptMachines } from '@enclaim/policy-schema/admission';
import { STATUS } from '../refusals.ts';
import type { Asker, KeptEpochs } from '../storage/sealed/kept-epochs.ts';
import type { CallerConnection, GrpcCall } from './grpc-call.ts';
import { askerOf } from './keeper-asker.ts';
import { KeeperRefusal, serveKeeper } from './keeper-refusal.ts';
import { type ServedMethod, servedMethod } from './served-methods.ts';
import { requestOf } from './small-requests.ts';

/** Bytes of a request: the longest evidence, an epoch and a key. */
const MAX_REQUEST_BYTES: number = MAX_EVIDENCE_BYTES + 128;
/**
 * Proofs of one connection that do not hold, until no more are looked at.
 *
 * **Bound**: each is a policy to parse, and chains of certificates to verify.
 */
export const MAX_FALSE_ASKERS = 4;
/** Proofs that are looked at at once, of policies that no key is kept under. */
export const MAX_WAITING_ASKERS = 8;
/**
 * The same under each policy that a key is kept under.
 *
 * **Bound**: policies can be made up without an end, and under such a one no asker takes room of
 * machines whose keys are kept.
 */
export const MAX_KNOWN_ASKERS = 4;
/**
 * Questions of one identity that are being answered.
 *
 * **Bound**: each is a record, and they are answered in turn. Without this, one machine that proves
 * itself could keep every other machine waiting.
 */
export const MAX_QUESTIONS_OF_IDENTITY = 4;

/** The parts of the service. */
export interface KeepingSource {
  readonly kept: Pick<KeptEpochs, 'instant' | 'isKept' | 'release' | 'advance'>;
  readonly keeps: KeptMachines;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** A challenge, and the instant at which it was drawn. */
interface Drawn {
  readonly challenge: Uint8Array;
  readonly drawn: number;
}

/** The service of a machine that keeps keys. */
export class KeeperService {
  readonly #source: KeepingSource;
  /** The challenge of each connection, for one request. */
  readonly #challenges = new WeakMap<CallerConnection, Drawn>();
  /** Proofs that did not hold, or are being looked at, by connection. */
  readonly #false = new WeakMap<CallerConnection, number>();
  /** Proofs that are being looked at, by the policy that they name, if a key is kept under it. */
  readonly #looks = new Tally();
  /** Questions that are being answered, by the name of their identity. */
  readonly #questions = new Tally();

  constructor(source: KeepingSource) {
    this.#source = source;
  }

  /** The methods of the service, with their paths. */
  get methods(): (readonly [string, ServedMethod])[] {
    const { challenge, release, advance } = KeeperDescriptor.method;
    return [
      servedMethod(challenge, (call) => serveKeeper(call, () => this.#challenge(call))),
      servedMethod(release, (call) => serveKeeper(call, () => this.#release(call))),
      servedMethod(advance, (call) => serveKeeper(call, () => this.#advance(call))),
    ];
  }

  async #challenge(call: GrpcCall): Promise<void> {
    requestOf(ChallengeRequestSchema, await this.#asked(call));
    const challenge = new Uint8Array(CHALLENGE_BYTES);
    // layer: challenges of the keeper
    randomFillSync(challenge);
    this.#challenges.set(call.connection, { challenge, drawn: this.#source.kept.instant });
    end(call, ChallengeResponseSchema, { challenge });
  }

  async #release(call: GrpcCall): Promise<void> {
    const { evidence } = requestOf(ReleaseRequestSchema, await this.#asked(call));
    const { asker } = await this.#proved(call, evidence, { kind: 'release' });
    const { epoch, key } = await this.#answering(asker, () => this.#source.kept.release(asker));
    end(call, ReleaseResponseSchema, { epoch: BigInt(epoch), key: key ?? new Uint8Array() });
    key?.fill(0);
  }

  async #advance(call: GrpcCall): Promise<void> {
    const { evidence, from, key } = requestOf(AdvanceRequestSchema, await this.#asked(call));
    try {
      if (from >= BigInt(Number.MAX_SAFE_INTEGER) || key.length !== KEPT_KEY_BYTES)
        throw new KeeperRefusal('request', `epoch ${from} and a key of ${key.length} bytes`);
      const question = { kind: 'advance', from: Number(from), key } as const;
      const { asker, drawn } = await this.#proved(call, evidence, question);
      const { kept } = this.#source;
      const epoch = await this.#answering(asker, () => kept.advance(asker, question.from, key, drawn));
      end(call, AdvanceResponseSchema, { epoch: BigInt(epoch) });
    } finally {
      key.fill(0);
    }
  }

  /** The asker, if its evidence is for this connection, its challenge and this question. */
  async #proved(
    { connection }: GrpcCall,
    evidence: Uint8Array,
    question: KeeperQuestion,
  ): Promise<{ readonly asker: Asker; readonly drawn: number }> {
    const drawn = this.#challenges.get(connection);
    this.#challenges.delete(connection);
    if (drawn === undefined) throw new KeeperRefusal('proof', 'no challenge was drawn for this request');
    const before = this.#false.get(connection) ?? 0;
    // layer: false askers of a connection
    if (before >= MAX_FALSE_ASKERS) throw new KeeperRefusal('busy', `${before} proofs did not hold; connect anew`);
    const room = /* layer: room of askers whose keys are kept (off: undefined) */ this.#roomOf(evidence);
    const most = room === undefined ? MAX_WAITING_ASKERS : MAX_KNOWN_ASKERS;
    // layer: askers that wait for a look
    if (this.#looks.of(room) >= most) throw new KeeperRefusal('busy', `${most} proofs are being looked at`);
    this.#looks.add(room, 1);
    this.#false.set(connection, before + 1);
    try {
      const { keeps, now } = this.#source;
      const shown = { evidence, question, challenge: drawn.challenge, exporter: connection.exporter() };
      const asker = await askerOf(shown, keeps, now());
      this.#false.set(connection, (this.#false.get(connection) ?? 1) - 1);
      return { asker, drawn: drawn.drawn };
    } finally {
      this.#looks.add(room, -1);
    }
  }

  /** The policy that evidence names if a key is kept under it; undefined for any other. */
  #roomOf(evidence: Uint8Array): string | undefined {
    const policy = namedPolicy(evidence);
    return policy !== undefined && this.#source.kept.isKept(policy) ? policy : undefined;
  }

  /** Answers a question of an asker, unless too many of its identity wait. @throws KeeperRefusal */
  async #answering<T>({ identity }: Asker, answer: () => Promise<T>): Promise<T> {
    const name = keptName(identity);
    // layer: questions of one identity
    if (this.#questions.of(name) >= MAX_QUESTIONS_OF_IDENTITY)
      throw new KeeperRefusal('busy', `${MAX_QUESTIONS_OF_IDENTITY} questions of this identity are being answered`);
    this.#questions.add(name, 1);
    try {
      return await answer();
    } finally {
      this.#questions.add(name, -1);
    }
  }

  /** The one request of a call. @throws KeeperRefusal */
  async #asked(call: GrpcCall): Promise<Uint8Array> {
    const bytes = (await call.next()) ?? new Uint8Array();
    // layer: kept keys on attested connections
    if (!call.connection.isAttested)
      throw new KeeperRefusal('unattested', 'keys are given and taken on attested connections alone');
    if (bytes.length > MAX_REQUEST_BYTES)
      throw new KeeperRefusal('request', `a request is longer than ${MAX_REQUEST_BYTES} bytes`);
    return bytes;
  }
}

/** Counts by name, of which only those that are not 0 are kept. */
class Tally {
  readonly #counts = new Map<string | undefined, number>();

  of(name: string | undefined): number {
    return this.#counts.get(name) ?? 0;
  }

  add(name: string | undefined, more: number): void {
    const count = this.of(name) + more;
    if (count === 0) this.#counts.delete(name);
    else this.#counts.set(name, count);
  }
}

/** The policy that evidence names, whether or not it holds; undefined where it is none. */
function namedPolicy(evidence: Uint8Array): string | undefined {
  try {
    return statementOfEvidence(evidence).policy;
  } catch {
    return undefined;
  }
}

function end<Desc extends DescMessage>(call: GrpcCall, type: Desc, value: Parameters<typeof create<Desc>>[1]): void {
  call.end({ status: STATUS.ok, response: toBinary(type, create(type, value)) });
}
