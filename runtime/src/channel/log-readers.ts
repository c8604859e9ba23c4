/** Readers of entries: keys of the policy, each proved on the connection that it reads over. */

import { createPublicKey, verify } from 'node:crypto';
import type { Sha256 } from '@enclaim/attestation/digest';
import { READER_KEY_BYTES, READER_METADATA, READER_PROOF_BYTES, readerMessage } from '@enclaim/attestation/log-service';
import { type Ed25519Text, ed25519Key, ed25519Spki } from '@enclaim/attestation/statement';
import type { CallerConnection, GrpcCall } from './grpc-call.ts';
import { LogRefusal } from './log-refusal.ts';

/** Holds callers against the policy's `evidence.readers`. */
export class LogReaders {
  readonly #keys: ReadonlySet<Ed25519Text>;
  readonly #boot: Sha256;
  /** The last proof that held, and whose it is, by connection. */
  readonly #proved = new WeakMap<CallerConnection, { readonly proof: Uint8Array; readonly key: Ed25519Text }>();

  constructor(keys: Iterable<Ed25519Text>, boot: Sha256) {
    this.#keys = new Set(keys);
    this.#boot = boot;
  }

  /**
   * Lets a reader pass.
   *
   * **Bound**: a signature is verified only under a key that the policy names, and once for each
   * connection that goes on with it.
   *
   * @returns the reader's key
   * @throws LogRefusal `unattested`, `reader`
   */
  admit(call: GrpcCall): Ed25519Text {
    const { connection } = call;
    if (!connection.isAttested) throw new LogRefusal('unattested', 'entries are read on attested connections alone');
    const proof = call.binary(READER_METADATA);
    if (proof?.length !== READER_PROOF_BYTES)
      throw new LogRefusal('reader', `entries are for readers, who send ${READER_METADATA}`);
    const before = this.#proved.get(connection);
    if (before !== undefined && Buffer.compare(before.proof, proof) === 0) return before.key;
    const key = ed25519Key(proof.subarray(0, READER_KEY_BYTES));
    if (!this.#isProved(key, proof, connection)) throw new LogRefusal('reader', 'not a reader that the policy names');
    this.#proved.set(connection, { proof, key });
    return key;
  }

  #isProved(key: Ed25519Text, proof: Uint8Array, connection: CallerConnection): boolean {
    if (!this.#keys.has(key)) return false;
    const message = readerMessage(connection.exporter(), this.#boot);
    try {
      const spki = createPublicKey({ key: Buffer.from(ed25519Spki(key)), format: 'der', type: 'spki' });
      // layer: signature of a reader (off: true)
      return verify(null, message, spki, proof.subarray(READER_KEY_BYTES));
    } catch {
      return false; // a key of the policy that is no point of the curve
    }
  }
}
