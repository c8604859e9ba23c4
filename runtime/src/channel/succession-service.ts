/**
 * enclaim.v1.Succession: a courier hands in what signers of the policy have signed, and every
 * client sees what waits.
 */

import { create, type DescMessage, toBinary } from '@bufbuild/protobuf';
import {
  HandSuccessionRequestSchema,
  HandSuccessionResponseSchema,
  MAX_SUCCESSION_BYTES,
  ShowSuccessionResponseSchema,
  SuccessionDescriptor,
  SuccessionError,
} from '@enclaim/attestation/succession';
import { STATUS } from '../refusals.ts';
import type { Successions } from '../storage/sealed/successions.ts';
import type { CallerConnection, GrpcCall } from './grpc-call.ts';
import { type ServedMethod, servedMethod } from './served-methods.ts';
import { requestOf } from './small-requests.ts';
import { SuccessionRefusal, serveSuccession } from './succession-refusal.ts';

/** Bytes of a request: the longest succession, and its field. */
const MAX_REQUEST_BYTES: number = MAX_SUCCESSION_BYTES + 16;
/**
 * Successions of one connection that do not hold, until no more are looked at.
 *
 * **Bound**: each is two policies to compare, and signatures to verify.
 */
export const MAX_FALSE_SUCCESSIONS = 8;
/** Successions that wait for another to be looked at, of all connections. */
export const MAX_WAITING_SUCCESSIONS = 4;

/** The service of a policy that has successors. */
export class SuccessionService {
  readonly #successions: Successions;
  /** Successions that did not hold, by connection. */
  readonly #false = new WeakMap<CallerConnection, number>();
  #waiting = 0;

  constructor(successions: Successions) {
    this.#successions = successions;
  }

  /** The methods of the service, with their paths. */
  get methods(): (readonly [string, ServedMethod])[] {
    const { hand, show } = SuccessionDescriptor.method;
    return [
      servedMethod(hand, (call) => serveSuccession(call, () => this.#hand(call))),
      servedMethod(show, (call) => serveSuccession(call, () => this.#show(call))),
    ];
  }

  async #hand(call: GrpcCall): Promise<void> {
    const bytes = await this.#asked(call);
    const { connection } = call;
    const before = this.#false.get(connection) ?? 0;
    // layer: false successions of a connection
    if (before >= MAX_FALSE_SUCCESSIONS)
      throw new SuccessionRefusal('busy', `${before} successions did not hold; connect anew`);
    const { succession } = requestOf(HandSuccessionRequestSchema, bytes);
    // layer: successions that wait for a look
    if (this.#waiting >= MAX_WAITING_SUCCESSIONS)
      throw new SuccessionRefusal('busy', `${MAX_WAITING_SUCCESSIONS} successions wait`);
    this.#waiting++;
    try {
      await this.#successions.hand(succession);
    } catch (error) {
      if (error instanceof SuccessionError) this.#false.set(connection, before + 1);
      throw error;
    } finally {
      this.#waiting--;
    }
    const due = new Date(this.#successions.waiting?.due ?? 0).toISOString();
    end(call, HandSuccessionResponseSchema, { due, handed: this.#successions.isHanded });
  }

  async #show(call: GrpcCall): Promise<void> {
    await this.#asked(call);
    const { state, waiting, isHanded: handed } = this.#successions;
    const due = waiting === undefined ? '' : new Date(waiting.due).toISOString();
    end(call, ShowSuccessionResponseSchema, {
      state,
      succession: waiting?.succession ?? new Uint8Array(),
      due,
      handed,
    });
  }

  /** The one request of a call. @throws SuccessionRefusal */
  async #asked(call: GrpcCall): Promise<Uint8Array> {
    const bytes = (await call.next()) ?? new Uint8Array();
    // layer: successions on attested connections
    if (!call.connection.isAttested)
      throw new SuccessionRefusal('unattested', 'successions are handed in on attested connections alone');
    if (bytes.length > MAX_REQUEST_BYTES)
      throw new SuccessionRefusal('request', `a request is longer than ${MAX_REQUEST_BYTES} bytes`);
    return bytes;
  }
}

function end<Desc extends DescMessage>(call: GrpcCall, type: Desc, value: Parameters<typeof create<Desc>>[1]): void {
  call.end({ status: STATUS.ok, response: toBinary(type, create(type, value)) });
}
