/** Every write of a disk and every state of its TPM, from which each instant can be had at which a crash could have come. */

import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Device } from '../../runtime/src/log/device.ts';
import { torn, type UnderWay } from './cut-disk.ts';
import type { Model } from './model.ts';

/** A write, with the instants between which it was under way. */
export interface RecordedWrite extends UnderWay {
  readonly begun: number;
  /** Infinite while it is not acknowledged. */
  ended: number;
}

/** The file in which swtpm keeps what outlives a reset. */
const TPM_FILE = 'tpm2-00.permall';

/** Puts a state of the TPM in the place of what swtpm has. */
export async function putTpmBack(stateFolder: string, bytes: Uint8Array): Promise<void> {
  await rm(join(stateFolder, 'tpm2-00.volatilestate'), { force: true });
  await writeFile(join(stateFolder, TPM_FILE), bytes);
}

/** The state of the TPM in a folder of swtpm's. */
export function tpmState(stateFolder: string): Promise<Buffer> {
  return readFile(join(stateFolder, TPM_FILE));
}

/** What a disk would hold if the power had been cut at an instant, and a choice of what was under way then. */
export function diskAt(
  writes: readonly RecordedWrite[],
  { at, bytes }: { readonly at: number; readonly bytes: number },
  draw: (below: number) => number,
): Buffer {
  const disk = Buffer.alloc(bytes);
  const begun = writes.filter((write) => write.begun <= at);
  const whole = begun.filter(({ ended }) => ended <= at);
  const parts = torn(
    begun.filter(({ ended }) => ended > at),
    draw,
  );
  for (const write of [...whole, ...parts]) disk.set(write.data, write.at);
  return disk;
}

/** Records what a runtime in this process writes. */
export class Recording {
  readonly writes: RecordedWrite[] = [];
  readonly #tpm: { readonly from: number; readonly bytes: Buffer }[] = [];
  readonly #model: Model;
  readonly #stateFolder: string;

  constructor(model: Model, stateFolder: string) {
    this.#model = model;
    this.#stateFolder = stateFolder;
  }

  /** The TPM's state at an instant. */
  tpmAt(at: number): Buffer {
    return (this.#tpm.findLast(({ from }) => from <= at) ?? this.#tpm[0])?.bytes ?? Buffer.alloc(0);
  }

  /** Looks at the TPM's state. */
  async look(): Promise<void> {
    const bytes = await tpmState(this.#stateFolder);
    if (this.#tpm.at(-1)?.bytes.equals(bytes) !== true) this.#tpm.push({ from: this.#model.tick(), bytes });
  }

  /** A device that records. */
  over(disk: Device): Device {
    const write = async (from: Uint8Array, offset: number, length: number, at: number) => {
      // The block is put together in a buffer that is used again.
      const data = Uint8Array.from(from.subarray(offset, offset + length));
      await this.look();
      const recorded: RecordedWrite = { at, data, begun: this.#model.tick(), ended: Number.POSITIVE_INFINITY };
      this.writes.push(recorded);
      const written = await disk.write(data, 0, length, at);
      recorded.ended = this.#model.tick();
      return { ...written, buffer: from };
    };
    return { read: disk.read.bind(disk), write: write as Device['write'], close: () => disk.close() };
  }
}
