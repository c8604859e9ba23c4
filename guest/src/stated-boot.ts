/**
 * The one boot statement that this boot's quotes cover. The runtime writes it, and its fields about
 * what was measured must be true.
 */

import { concat, fromBase64, toHex } from '@enclaim/attestation/bytes';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { type BootStatement, bootDigest, decodeStatement, type StatedStorage } from '@enclaim/attestation/statement';
import { decodePolicy } from '@enclaim/policy-schema/admission';
import type { BootMessage } from '@enclaim/runtime/control';

/** Fields of the statement that must have exactly these values. */
export type Known = Pick<BootStatement, 'platform' | 'policy' | 'bundle' | 'image' | 'events' | 'unconfined'> & {
  /** Whether another machine keeps the keys by the policy, and this one has no keeper itself. */
  readonly hasPeer?: boolean;
};

/**
 * The facts that the supervisor told the runtime, in the statement's form. The runtime's workers
 * have every layer of a VM.
 */
export function knownOf({
  image,
  bundle,
  hardware,
  keeper,
}: Pick<BootMessage, 'image' | 'bundle' | 'hardware' | 'keeper'>): Known {
  const eventLog = hardware.kind === 'tdx' ? hardware.eventLog : null;
  return {
    platform: hardware.kind,
    policy: bundle.policyDigest,
    bundle: bundle.digest,
    image,
    ...(eventLog === null ? {} : { events: digestText('sha256', sha256(fromBase64(eventLog))) }),
    unconfined: [],
    hasPeer: keeper === null && decodePolicy(fromBase64(bundle.policy)).storage?.keeper !== undefined,
  };
}

/**
 * Holds the runtime to one boot statement.
 *
 * **Trust**: an attacker who controls the runtime can lie in every answer of this boot. It cannot
 * get a signature over another bundle, policy or image than the measured ones, or over a second set
 * of keys.
 */
export class StatedBoot {
  readonly #known: Known;
  readonly #storage: () => StatedStorage | null;
  #digest: Uint8Array | null = null;
  /** The statement by which this boot asks a peer for its state; null if it does not. */
  #asking: BootStatement | null = null;
  #hasStorage = false;
  #hasKeys = false;

  /** @param storage the epoch of sealed state that this boot has begun, or null */
  constructor(known: Known, storage: () => StatedStorage | null = () => null) {
    this.#known = known;
    this.#storage = storage;
  }

  /**
   * Takes the statement. Where a peer keeps the keys, one that only asks may come before.
   * @throws DecodeError; RangeError if it contradicts what is known, or is a second one
   */
  state(statement: Uint8Array): void {
    const stated = decodeStatement(statement);
    for (const name of ['platform', 'policy', 'bundle', 'image', 'events'] as const) {
      const [found, known] = [stated[name] ?? 'none', this.#known[name] ?? 'none'];
      if (found !== known) throw new RangeError(`the boot statement says ${name} ${found}, measured is ${known}`);
    }
    if (stated.unconfined.length > this.#known.unconfined.length) {
      throw new RangeError(`the boot statement says that workers lack ${stated.unconfined.join(', ')}`);
    }
    const { storage } = stated.version === 3 ? stated : {};
    if (storage?.keeper === 'peer') this.#statePeer(storage);
    const said = storageText(storage);
    const begun = storage?.keeper === 'peer' ? said : storageText(this.#storage());
    if (said !== begun) throw new RangeError(`the boot statement says storage ${said}, the keeper began ${begun}`);
    if (begun === 'none' && this.#hasKeys)
      throw new RangeError('the boot statement says storage none, and the keeper has given a key');
    if (this.#digest !== null && this.#asking === null) throw new RangeError('a second boot statement');
    const [own, asked] = [stated, this.#asking ?? stated].map(({ bootId, keys }) => JSON.stringify([bootId, keys]));
    if (own !== asked) throw new RangeError('the boot statement has other keys than the one that asked');
    if (this.#asking !== null && storage?.keeper !== 'peer')
      throw new RangeError('the boot statement names no peer, and one was asked');
    this.#asking = storage?.began === 'asking' ? stated : null;
    this.#hasStorage = begun !== 'none';
    this.#digest = bootDigest(statement);
  }

  /**
   * Lets a statement name a peer that keeps the keys, if one is asked.
   *
   * **Trust**: which epoch the peer said, the runtime states. The peer's record says it, too.
   * @throws RangeError
   */
  #statePeer({ began }: StatedStorage): void {
    if (this.#known.hasPeer !== true)
      throw new RangeError('the boot statement names a peer, and no peer keeps keys here');
    if (began === 'asking') {
      if (this.#digest !== null) throw new RangeError('a second boot statement that asks');
      return;
    }
    if (this.#asking === null) throw new RangeError('the boot statement names a peer that was not asked');
  }

  /**
   * Lets the runtime ask the keeper for something that gives or takes a key.
   *
   * **Trust**: a runtime that an attacker controls could state that it stores nothing, and open
   * what is stored afterwards, or before.
   * @throws RangeError once a statement was taken that names no storage
   */
  useKeeper(): void {
    if (this.#digest !== null && !this.#hasStorage)
      throw new RangeError('the boot statement names no storage, so this boot has no keeper');
    this.#hasKeys = true;
  }

  /**
   * Returns the 64 bytes of a quote over a batch's root.
   * @throws RangeError before a statement was taken, or for another length
   */
  covered(root: Uint8Array): Uint8Array {
    if (root.length !== 32) throw new RangeError(`a root of ${root.length} bytes: ${toHex(root.subarray(0, 64))}`);
    if (this.#digest === null) throw new RangeError('a quote before the boot statement');
    return concat(root, this.#digest);
  }
}

function storageText(storage: StatedStorage | null | undefined): string {
  if (storage === undefined || storage === null) return 'none';
  const { keeper, epoch, began, predecessor, recovery } = storage;
  const from = predecessor === undefined ? '' : ` from ${predecessor.policy} ${predecessor.registers}`;
  return `${keeper}, epoch ${epoch}, ${began}${from}${recovery === undefined ? '' : ` by ${recovery}`}`;
}
