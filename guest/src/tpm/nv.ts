/**
 * Non-volatile indices: reading certificates, and counters that only grow (Part 1, 37; Part 3, 31).
 */

import { concat } from '@enclaim/attestation/bytes';
import { HIERARCHY } from '@enclaim/attestation/tpm';
import {
  NV_DEFINE_SPACE,
  NV_INCREMENT,
  NV_READ,
  NV_READ_PUBLIC,
  NV_UNDEFINE_SPACE,
  type NvAttribute,
  type NvPublic,
} from './commands.ts';
import { TpmError } from './error.ts';
import type { Tpm } from './tpm.ts';

/**
 * The largest index that is read, in bytes, and the most at once: every TPM's NV buffer has room
 * for that.
 */
const MAX_NV = 8192;
const CHUNK = 512;

const EMPTY = new Uint8Array();

/**
 * All bytes of an NV index that its own or the owner's empty password opens.
 * @returns undefined if there is no such index, or it was never written
 * @throws TpmError `unusable` if it is larger than 8 KiB
 */
export async function readNv(tpm: Tpm, index: number): Promise<Uint8Array | undefined> {
  const nvPublic = await readNvPublic(tpm, index);
  if (nvPublic === undefined || !nvPublic.attributes.includes('written')) return undefined;
  const { dataSize } = nvPublic;
  if (dataSize > MAX_NV) throw new TpmError('unusable', `NV index 0x${index.toString(16)} has ${dataSize} bytes`);
  const by = nvPublic.attributes.includes('authRead') ? index : HIERARCHY.owner;
  const chunks: Uint8Array[] = [];
  for (let offset = 0; offset < dataSize; offset += CHUNK) {
    const size = Math.min(CHUNK, dataSize - offset);
    const { data } = await tpm.run(NV_READ, { by, index, size, offset });
    if (data.length !== size) throw new TpmError('response', `NV_Read gave ${data.length} of ${size} bytes`);
    chunks.push(data);
  }
  return concat(...chunks);
}

/** Attributes of a counter, in the order of the attributes' table. */
const COUNTER: readonly NvAttribute[] = ['authWrite', 'counter', 'ownerRead', 'authRead', 'noDA'];

/**
 * A counter that no restart, restore or redefinition sets back: a TPM starts a new counter at the
 * highest value that any of its counters ever had.
 *
 * **Trust**: the owner of the TPM may undefine the index; the value then jumps, but never back.
 */
export class NvCounter {
  readonly #tpm: Tpm;
  readonly #index: number;

  private constructor(tpm: Tpm, index: number) {
    this.#tpm = tpm;
    this.#index = index;
  }

  /**
   * Opens the counter at `index`, or defines it. It has a value after the first increment only.
   * @throws TpmError `unusable` if the index is there, but is another thing than such a counter
   */
  static async open(tpm: Tpm, index: number): Promise<NvCounter> {
    const found = await readNvPublic(tpm, index);
    if (found === undefined) {
      const nvPublic = {
        nvIndex: index,
        nameAlg: 'sha256',
        attributes: COUNTER,
        authPolicy: EMPTY,
        dataSize: 8,
      } as const;
      await tpm.run(NV_DEFINE_SPACE, { hierarchy: HIERARCHY.owner, auth: EMPTY, nvPublic });
    } else if (
      found.attributes.filter((name) => name !== 'written').join() !== COUNTER.join() ||
      found.dataSize !== 8
    ) {
      throw new TpmError('unusable', `NV index 0x${index.toString(16)} is not a counter: ${found.attributes.join()}`);
    }
    return new NvCounter(tpm, index);
  }

  /** The value. @throws TpmError `nv-uninitialized` before the first increment */
  async read(): Promise<bigint> {
    const { data } = await this.#tpm.run(NV_READ, { by: this.#index, index: this.#index, size: 8, offset: 0 });
    if (data.length !== 8) throw new TpmError('response', `a counter of ${data.length} bytes`);
    return new DataView(data.buffer, data.byteOffset).getBigUint64(0);
  }

  /** Adds one, durably, and gives the new value. */
  async increment(): Promise<bigint> {
    await this.#tpm.run(NV_INCREMENT, { by: this.#index, index: this.#index });
    return this.read();
  }

  async remove(): Promise<void> {
    await this.#tpm.run(NV_UNDEFINE_SPACE, { hierarchy: HIERARCHY.owner, index: this.#index });
  }
}

async function readNvPublic(tpm: Tpm, index: number): Promise<NvPublic | undefined> {
  try {
    return (await tpm.run(NV_READ_PUBLIC, { index })).nvPublic;
  } catch (error) {
    if (error instanceof TpmError && error.code === 'handle') return undefined;
    throw error;
  }
}
