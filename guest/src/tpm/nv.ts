/**
 * Non-volatile indices: reading certificates, and counters that only grow (Part 1, 37; Part 3, 31).
 */

import { concat, equalBytes } from '@enclaim/attestation/bytes';
import { hash } from '@enclaim/attestation/digest';
import { HIERARCHY, hashId, type PcrSelection, u64 } from '@enclaim/attestation/tpm';
import {
  NV_DEFINE_SPACE,
  NV_INCREMENT,
  NV_READ,
  NV_READ_PUBLIC,
  NV_UNDEFINE_SPACE,
  NV_WRITE,
  type NvAttribute,
  type NvPublic,
  nvPublicArea,
} from './commands.ts';
import { TpmError } from './error.ts';
import { satisfyPcrPolicy, withPolicySession } from './policy.ts';
import type { Authorisation, Tpm } from './tpm.ts';

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

/** The registers under which alone an index is written, and the policy digest that says so. */
export interface NvGuard {
  readonly selection: PcrSelection;
  readonly policy: Uint8Array;
}

/** Finding at an index: nothing, another thing, or the one looked for, before or after a write. */
export type NvState = 'absent' | 'other' | 'unwritten' | 'written';

/**
 * An index of eight bytes that everybody may read: written by who sends commands, or, with a guard,
 * under its registers alone.
 */
class NvWord {
  protected readonly tpm: Tpm;
  readonly index: number;
  readonly #guard: NvGuard | undefined;
  readonly #nvPublic: NvPublic;

  /** Attributes are compared and named in the order of their table. */
  protected constructor(tpm: Tpm, index: number, type: readonly NvAttribute[], guard: NvGuard | undefined) {
    this.tpm = tpm;
    this.index = index;
    this.#guard = guard;
    this.#nvPublic = {
      nvIndex: index,
      nameAlg: 'sha256',
      attributes: [guard === undefined ? 'authWrite' : 'policyWrite', ...type, 'ownerRead', 'authRead', 'noDA'],
      authPolicy: guard?.policy ?? EMPTY,
      dataSize: 8,
    };
  }

  /** Name of the index once it was written, as computed here and not by the TPM (Part 1, 16). */
  get name(): Uint8Array {
    const { attributes } = this.#nvPublic;
    return nvName({ ...this.#nvPublic, attributes: [...attributes, 'written'] });
  }

  /** Looks at the index. */
  async state(): Promise<NvState> {
    const found = await readNvPublic(this.tpm, this.index);
    if (found === undefined) return 'absent';
    const attributes = found.attributes.filter((name) => name !== 'written');
    if (!equalBytes(nvName({ ...found, attributes }), nvName(this.#nvPublic))) return 'other';
    return found.attributes.includes('written') ? 'written' : 'unwritten';
  }

  /** Defines the index, which is not there. */
  async define(): Promise<void> {
    await this.tpm.run(NV_DEFINE_SPACE, { hierarchy: HIERARCHY.owner, auth: EMPTY, nvPublic: this.#nvPublic });
  }

  /** The value. @throws TpmError `nv-uninitialized` if it was never written */
  async read(): Promise<bigint> {
    const { data } = await this.tpm.run(NV_READ, { by: this.index, index: this.index, size: 8, offset: 0 });
    if (data.length !== 8) throw new TpmError('response', `a word of ${data.length} bytes`);
    return new DataView(data.buffer, data.byteOffset).getBigUint64(0);
  }

  async remove(): Promise<void> {
    await this.tpm.run(NV_UNDEFINE_SPACE, { hierarchy: HIERARCHY.owner, index: this.index });
  }

  /** Runs a command that writes, with the authorisation that the index asks for. */
  protected async write(command: (auths: readonly Authorisation[]) => Promise<unknown>): Promise<void> {
    const guard = this.#guard;
    if (guard === undefined) await command([]);
    else {
      await withPolicySession(this.tpm, 'sha256', async (session, authorisation) => {
        await satisfyPcrPolicy(this.tpm, session, guard.selection);
        await command([authorisation]);
      });
    }
  }
}

/** A number of 64 bits that is written as a whole. */
export class NvNumber extends NvWord {
  constructor(tpm: Tpm, index: number, guard?: NvGuard) {
    super(tpm, index, [], guard);
  }

  async set(value: bigint): Promise<void> {
    const { index } = this;
    await this.write((auths) =>
      this.tpm.run(NV_WRITE, { by: index, index, data: u64.encode(value), offset: 0 }, auths),
    );
  }
}

/**
 * A counter that no restart, restore or redefinition sets back: a TPM starts a new counter at the
 * highest value that any of its counters ever had.
 *
 * **Trust**: the owner of the TPM may undefine the index; the value then jumps, but never back.
 */
export class NvCounter extends NvWord {
  constructor(tpm: Tpm, index: number, guard?: NvGuard) {
    super(tpm, index, ['counter'], guard);
  }

  /**
   * Opens the counter at `index`, or defines it. It has a value after the first increment only.
   * @throws TpmError `unusable` if the index is there, but is another thing than such a counter
   */
  static async open(tpm: Tpm, index: number, guard?: NvGuard): Promise<NvCounter> {
    const counter = new NvCounter(tpm, index, guard);
    const state = await counter.state();
    if (state === 'other') throw new TpmError('unusable', `NV index 0x${index.toString(16)} is another thing`);
    if (state === 'absent') await counter.define();
    return counter;
  }

  /** Adds one, durably, and gives the new value. */
  async increment(): Promise<bigint> {
    const { index } = this;
    await this.write((auths) => this.tpm.run(NV_INCREMENT, { by: index, index }, auths));
    return this.read();
  }
}

/** nameAlg ‖ H(TPMS_NV_PUBLIC), with the attributes as they are given. */
function nvName(nvPublic: NvPublic): Uint8Array {
  return concat(hashId.encode(nvPublic.nameAlg), hash(nvPublic.nameAlg, nvPublicArea.encode(nvPublic)));
}

async function readNvPublic(tpm: Tpm, index: number): Promise<NvPublic | undefined> {
  try {
    return (await tpm.run(NV_READ_PUBLIC, { index })).nvPublic;
  } catch (error) {
    if (error instanceof TpmError && error.code === 'handle') return undefined;
    throw error;
  }
}
