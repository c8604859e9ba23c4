/** Attacks of those who take no answer: on the answers of other readers, and on the memory that answers need. */

import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { concat, utf8 } from '@enclaim/attestation/bytes';
import { sha256 } from '@enclaim/attestation/digest';
import { Log, LogProofSchema, READER_METADATA, readerMessage } from '@enclaim/attestation/log-service';
import type { GrpcCall } from '../../runtime/src/channel/grpc-call.ts';
import type * as serviceModule from '../../runtime/src/channel/log-service.ts';
import { readerName } from '../support/log-server.ts';
import { type Weakness, weakened } from './weakened.ts';

const SERVICE = 'runtime/src/channel/log-service.ts';
const { getEntries, getQuote } = Log.method;
const BOOT = sha256(utf8('a boot statement'));
const REQUEST = toBinary(getEntries.input, create(getEntries.input, { first: 0n, count: 1 }));
const QUOTE_REQUEST = toBinary(getQuote.input, create(getQuote.input, { size: 1n }));

/** A reader's call of GetEntries. */
class Asking {
  /** Settles with whether it is sent an answer. */
  readonly answered: Promise<boolean>;
  readonly #told = Promise.withResolvers<boolean>();
  readonly #proof: Uint8Array;
  readonly connection: object;

  constructor(key: KeyObject, name: string) {
    const exporter = sha256(utf8(name));
    this.connection = { isAttested: true, number: name, exporter: () => exporter };
    const raw = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
    this.#proof = concat(raw, sign(null, readerMessage(exporter, BOOT), key));
    this.answered = this.#told.promise;
  }

  binary(name: string): Uint8Array | undefined {
    return name === READER_METADATA ? this.#proof : undefined;
  }

  next(): Promise<Uint8Array> {
    return Promise.resolve(REQUEST);
  }

  /** Never taken. */
  send(): Promise<void> {
    this.#told.resolve(true);
    return new Promise(() => {});
  }

  end(): void {
    this.#told.resolve(false);
  }
}

/** A stranger's call of GetQuote. */
class QuoteAsking {
  /** Settles with whether it is sent an answer. */
  readonly answered: Promise<boolean>;
  readonly #told = Promise.withResolvers<boolean>();
  readonly connection: { readonly number: string };

  constructor(name: string) {
    this.connection = { number: name };
    this.answered = this.#told.promise;
  }

  next(): Promise<Uint8Array> {
    return Promise.resolve(QUOTE_REQUEST);
  }

  onLeave(): void {}

  /** Never taken. */
  send(): Promise<void> {
    this.#told.resolve(true);
    return new Promise(() => {});
  }

  end(): void {
    this.#told.resolve(false);
  }
}

/** Whether strangers can have more quotes of earlier boots held for them than proofs may wait. */
export async function heldQuotes(weakness: Weakness): Promise<boolean> {
  const from = Object.keys(weakness).length === 0 ? `../../${SERVICE}` : weakened(SERVICE, weakness);
  const { LogService, MAX_WAITING_PROOFS } = (await import(from)) as typeof serviceModule;
  const earlier = { proofOf: async () => undefined, quoteWithin: async () => create(LogProofSchema) };
  const log = { began: { size: 1 }, durable: { size: 1 }, minimum: 0 };
  const { methods } = new LogService({ log, earlier, readers: [], boot: BOOT } as unknown as serviceModule.LogSource);
  const served = new Map(methods).get(`/${getQuote.parent.typeName}/${getQuote.name}`);
  for (let i = 0; i <= MAX_WAITING_PROOFS; i++) {
    const call = new QuoteAsking(`stranger ${i}`);
    served?.serve(call as unknown as GrpcCall);
    if (!(await call.answered)) return false;
  }
  return true;
}

/** Whether no answer is left for one reader beside another that takes none of as many as it can ask for. */
export async function heldAnswers(weakness: Weakness): Promise<boolean> {
  const from = Object.keys(weakness).length === 0 ? `../../${SERVICE}` : weakened(SERVICE, weakness);
  const { LogService, MAX_ENTRIES_ANSWERS } = (await import(from)) as typeof serviceModule;
  const [hostile, honest] = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')];
  const log = {
    ...{ began: { size: 0 }, durable: { size: 1 }, minimum: 0 },
    tile: () => Promise.reject(new Error('no tiles')),
    entries: async () => [utf8('an entry')],
  };
  const checkpoints = { newest: undefined, proofOf: () => Promise.reject(new Error('no proofs')) };
  const readers = [hostile, honest].map(({ publicKey }) => readerName(publicKey));
  const { methods } = new LogService({ log, checkpoints, readers, boot: BOOT } as unknown as serviceModule.LogSource);
  const served = new Map(methods).get(`/${getEntries.parent.typeName}/${getEntries.name}`);
  const ask = async (key: KeyObject, name: string): Promise<boolean> => {
    const call = new Asking(key, name);
    served?.serve(call as unknown as GrpcCall);
    return call.answered;
  };
  // One after the other, over connections of its own.
  for (let i = 0; i < MAX_ENTRIES_ANSWERS; i++) await ask(hostile.privateKey, `hostile ${i}`);
  return !(await ask(honest.privateKey, 'honest'));
}
