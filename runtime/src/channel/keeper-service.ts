/**
 * enclaim.v1.Keeper: keeps the present epoch of other machines' state, and its key, and tells it to
 * the machines of the same identity alone.
 */

import { randomFillSync } from 'node:crypto';
import { create, type DescMessage, toBinary } from '@bufbuild/protobuf';
import { MAX_EVIDENCE_BYTES } from '@enclaim/attestation/evidence';
import {
  AdvanceRequestSchema,
  AdvanceResponseSchema,
  CHALLENGE_BYTES,
  ChallengeRequestSchema,
  ChallengeResponseSchema,
  KEPT_KEY_BYTES,
  KeeperDescriptor,
  type KeeperQuestion,
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
/** Proofs that wait for another to be looked at, of all connections. */
export const MAX_WAITING_ASKERS = 8;

/** The parts of the service. */
export interface KeepingSource {
  readonly kept: Pick<KeptEpochs, 'instant' | 'release' | 'advance'>;
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
  #waiting = 0;

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
    const { epoch, key } = await this.#source.kept.release(asker);
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
      const epoch = await this.#source.kept.advance(asker, question.from, key, drawn);
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
    // layer: askers that wait for a look
    if (this.#waiting >= MAX_WAITING_ASKERS) throw new KeeperRefusal('busy', `${MAX_WAITING_ASKERS} proofs wait`);
    this.#waiting++;
    this.#false.set(connection, before + 1);
    try {
      const { keeps, now } = this.#source;
      const shown = { evidence, question, challenge: drawn.challenge, exporter: connection.exporter() };
      const asker = await askerOf(shown, keeps, now());
      this.#false.set(connection, (this.#false.get(connection) ?? 1) - 1);
      return { asker, drawn: drawn.drawn };
    } finally {
      this.#waiting--;
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

function end<Desc extends DescMessage>(call: GrpcCall, type: Desc, value: Parameters<typeof create<Desc>>[1]): void {
  call.end({ status: STATUS.ok, response: toBinary(type, create(type, value)) });
}
