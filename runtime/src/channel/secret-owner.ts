/** The owner, by the key of the policy, proved anew for each request. */

import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { Sha256 } from '@enclaim/attestation/digest';
import { OWNER_METADATA, OWNER_PROOF_BYTES, type OwnedRequest, ownerMessage } from '@enclaim/attestation/secrets';
import { type Ed25519Text, ed25519Spki } from '@enclaim/attestation/statement';
import type { CallerConnection, GrpcCall } from './grpc-call.ts';
import { SecretRefusal } from './secret-refusal.ts';

/**
 * Proofs of one connection that do not hold, until no more are looked at.
 *
 * **Bound**: without this, a stranger could have signatures verified for as long as a connection
 * lasts. A connection costs its client more than they cost here.
 */
export const MAX_FALSE_PROOFS = 8;

/** Holds callers against the policy's `system.owner.key`. */
export class SecretOwner {
  /** Undefined for a key of the policy that is no point of the curve. */
  readonly #key: KeyObject | undefined;
  readonly #boot: Sha256;
  /** Proofs that did not hold, by connection. */
  readonly #false = new WeakMap<CallerConnection, number>();

  constructor(key: Ed25519Text, boot: Sha256) {
    this.#boot = boot;
    try {
      this.#key = createPublicKey({ key: Buffer.from(ed25519Spki(key)), format: 'der', type: 'spki' });
    } catch {
      this.#key = undefined;
    }
  }

  /**
   * Lets a request of the owner pass.
   *
   * @throws SecretRefusal `unattested`, `owner`, `busy`
   */
  admit(call: Pick<GrpcCall, 'connection' | 'binary'>, path: string, request: Uint8Array): void {
    const { connection } = call;
    // layer: secrets on attested connections
    if (!connection.isAttested)
      throw new SecretRefusal('unattested', 'secrets are brought on attested connections alone');
    const before = this.#false.get(connection) ?? 0;
    // layer: false proofs of a connection
    if (before >= MAX_FALSE_PROOFS) throw new SecretRefusal('busy', `${before} proofs did not hold; connect anew`);
    const proof = call.binary(OWNER_METADATA);
    const isOwner =
      proof?.length === OWNER_PROOF_BYTES &&
      /* layer: signature of the owner */ this.#holds(proof, connection, { path, request });
    if (isOwner) return;
    this.#false.set(connection, before + 1);
    throw new SecretRefusal('owner', `secrets are the owner's, who sends ${OWNER_METADATA} under system.owner.key`);
  }

  #holds(proof: Uint8Array, connection: CallerConnection, asked: Pick<OwnedRequest, 'path' | 'request'>): boolean {
    if (this.#key === undefined) return false;
    const signed = { ...asked, exporter: connection.exporter(), boot: this.#boot };
    return verify(null, ownerMessage(signed), this.#key, proof);
  }
}
