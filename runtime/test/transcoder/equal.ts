/** Holds a transcoder against the reference: what it takes, the reference takes with the same result. */

import type { DescMessage, Registry } from '@bufbuild/protobuf';
import { RefusalError } from '../../src/errors.ts';
import { walkBytes, walkJson } from '../../src/message/message-walk.ts';
import type { Transcoder } from '../../src/message/transcoder/transcoder.ts';
import type { Transcoders } from '../../src/message/transcoder/transcoders.ts';
import type { Json } from '../../src/worker/json-text.ts';

/** The outcome for a message: taken in one pass, left to the reference, or refused by it. */
export type Outcome = 'taken' | 'left' | 'refused';

/** Thrown for a message of which the two say different things. */
export class Difference extends Error {}

/** A transcoder beside the reference. */
export class Beside {
  readonly type: DescMessage;
  readonly #registry: Registry;
  readonly #transcoder: Transcoder;

  constructor(type: DescMessage, registry: Registry, transcoders: Transcoders) {
    this.type = type;
    this.#registry = registry;
    const transcoder = transcoders.of(type);
    if (transcoder === undefined) throw new Error(`${type.typeName} has no transcoder`);
    this.#transcoder = transcoder;
  }

  /** @throws Difference */
  read(bytes: Uint8Array, searched: boolean): Outcome {
    const read = this.#transcoder.read(bytes, searched);
    const walked = refusable(() => walkBytes({ maker: 'request', ...this.#walk(searched) }, bytes));
    if (read === undefined) return walked === undefined ? 'refused' : 'left';
    if (walked === undefined) throw new Difference('the reference refuses it');
    same('text', read.text, JSON.stringify(walked.json));
    same('label', listed(read.label), listed(walked.label));
    same('texts', listed(read.texts), listed(walked.texts));
    return 'taken';
  }

  /** @throws Difference */
  write(json: Json, searched: boolean): Outcome {
    const written = this.#transcoder.write(json, searched);
    const walked = refusable(() => {
      const { bytes, json: _, ...rest } = walkJson({ maker: 'response', ...this.#walk(searched) }, json);
      return { ...rest, bytes: bytes() };
    });
    if (written === undefined) return walked === undefined ? 'refused' : 'left';
    if (walked === undefined) throw new Difference('the reference refuses it');
    same('bytes', Buffer.from(written.bytes).toString('hex'), Buffer.from(walked.bytes).toString('hex'));
    same('label', listed(written.label), listed(walked.label));
    same('texts', listed(written.texts), listed(walked.texts));
    return 'taken';
  }

  #walk(searched: boolean): { type: DescMessage; registry: Registry; searched: boolean } {
    return { type: this.type, registry: this.#registry, searched };
  }
}

/** The result of making a message; undefined if the reference refuses it, or cannot encode it. */
function refusable<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof RefusalError || (error instanceof Error && error.message.startsWith('cannot encode')))
      return undefined;
    throw error;
  }
}

function listed(texts: Iterable<string>): string {
  return JSON.stringify([...texts].sort());
}

function same(what: string, found: string, expected: string): void {
  if (found !== expected) throw new Difference(`${what} ${found} where the reference has ${expected}`);
}
