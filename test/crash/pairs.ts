/** The app of the crash runs, and its callers: each stores and drops under keys of its own, one call after another. */

import { join } from 'node:path';
import { fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import type { References } from '@enclaim/attestation';
import { type AttestedChannel, connect } from '@enclaim/client';
import { type BuiltBundle, buildBundle, compileProtos } from '@enclaim/image';
import { readDescriptors } from '@enclaim/policy-schema';
import { Client, credentials, status } from '@grpc/grpc-js';
import { HANGS_MS } from '../support/eventually.ts';
import type { Kept, Model } from './model.ts';

const APP = join(import.meta.dirname, 'app');

/** The app under its own policy, or another file's. */
export function pairsBundle(policyFile: string = join(APP, 'policy.yaml')): Promise<BuiltBundle> {
  return buildBundle({ policyFile, protoDir: join(APP, 'proto'), handlersEntry: join(APP, 'handlers/index.ts') });
}

/** The text of the app's policy. */
export const POLICY_FILE: string = join(APP, 'policy.yaml');

const descriptors = compileProtos(join(APP, 'proto')).then(readDescriptors);

type Method = 'Put' | 'Drop' | 'Get' | 'All';

/** What `Get` answers with. */
export interface KeptNow extends Kept {
  readonly brief: string;
}

/** An attested connection to the app. */
export class Pairs {
  readonly #channel: AttestedChannel;
  readonly #client: Client;

  private constructor(channel: AttestedChannel) {
    this.#channel = channel;
    this.#client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  }

  static async connect(target: string, references: References): Promise<Pairs> {
    return new Pairs(await connect(target, { references, timeout: HANGS_MS, handshakeTimeout: HANGS_MS }));
  }

  /** @throws Error with the `code` of gRPC */
  async call(name: Method, request: JsonValue): Promise<JsonValue> {
    const { registry } = await descriptors;
    const method = registry.getService('kept.v1.Pairs')?.methods.find((each) => each.name === name);
    if (method === undefined) throw new TypeError(name);
    const bytes = Buffer.from(toBinary(method.input, fromJson(method.input, request)));
    const same = (message: Buffer): Buffer => message;
    const answer = await new Promise<Buffer>((resolve, reject) => {
      this.#client.makeUnaryRequest(`/kept.v1.Pairs/${name}`, same, same, bytes, (error, message) =>
        error === null && message !== undefined ? resolve(message) : reject(error),
      );
    });
    return toJson(method.output, fromBinary(method.output, answer), { alwaysEmitImplicit: true });
  }

  async get(key: string): Promise<KeptNow> {
    return (await this.call('Get', { key })) as unknown as KeptNow;
  }

  async all(): Promise<readonly KeptNow[]> {
    return ((await this.call('All', {})) as unknown as { kept: readonly KeptNow[] }).kept;
  }

  close(): void {
    this.#client.close();
    this.#channel.close();
  }
}

/** What callers do, and until when. */
export interface Work {
  readonly model: Model;
  /** Stands in every key and text. */
  readonly mark: string;
  readonly draw: (below: number) => number;
  /** Hears of each acknowledged change. */
  readonly onAcknowledged: () => void;
}

const CALLERS = 3;
const KEYS = 6;
let texts = 0;

/**
 * Lets callers work until `more` says no, or a call of theirs fails.
 *
 * @returns what the failed calls failed by, with their keys
 */
export async function work(
  pairs: Pairs,
  { model, mark, draw, onAcknowledged }: Work,
  more: () => boolean,
): Promise<{ key: string; error: Error }[]> {
  const failed: { key: string; error: Error }[] = [];
  const caller = async (number: number): Promise<void> => {
    while (more() && failed.length === 0) {
      const key = `${mark}.${number}.${draw(KEYS)}`;
      const isDrop = draw(4) === 0;
      const text = isDrop ? null : `${mark} `.repeat(1 + draw(draw(5) === 0 ? 300 : 4)) + ++texts;
      const acknowledged = model.begin(key, text);
      try {
        await pairs.call(isDrop ? 'Drop' : 'Put', text === null ? { key } : { key, text });
      } catch (error) {
        // A machine that is short of processor gave it up. Whether it had begun to store is not known here.
        if ((error as { code?: number }).code === status.RESOURCE_EXHAUSTED) continue;
        failed.push({ key, error: error as Error });
        return;
      }
      acknowledged();
      onAcknowledged();
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, number) => caller(number)));
  return failed;
}
