/**
 * Reports of confidential VMs through configfs-tsm (Linux,
 * Documentation/ABI/testing/configfs-tsm-report).
 */

import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Queue } from '../tpm/queue.ts';

/** The four operations on the tree; another implementation of them is another tree. */
export interface TsmTree {
  mkdir(path: string): Promise<unknown>;
  rmdir(path: string): Promise<unknown>;
  readFile(path: string): Promise<Uint8Array>;
  writeFile(path: string, content: Uint8Array): Promise<unknown>;
}

/** A report's two parts: what the hardware and the host give for 64 bytes. */
export interface TsmReport {
  /** Driver that made it: `sev_guest`, `tdx_guest`. */
  readonly provider: string;
  /** SNP: ATTESTATION_REPORT. TDX: a quote, perhaps padded. */
  readonly outblob: Uint8Array;
  /**
   * Data that the host adds; empty if it adds nothing. **Trust**: none. SNP: a certificate table.
   */
  readonly auxblob: Uint8Array;
}

/** Why there is no report. */
export type TsmErrorCode =
  | 'unavailable' // no such tree, or the driver refuses
  | 'interfered'; // another writer changed the request while it was answered

/** No report could be had. */
export class TsmError extends Error {
  override readonly name = 'TsmError';
  readonly code: TsmErrorCode;

  constructor(code: TsmErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const ROOT = '/sys/kernel/config/tsm/report';
const INPUT_LENGTH = 64;

/** One entry of the tree, this process's own. Reports are asked for one after the other. */
export class TsmDevice {
  readonly #tree: TsmTree;
  readonly #entry: string;
  readonly #queue = new Queue();

  private constructor(tree: TsmTree, entry: string) {
    this.#tree = tree;
    this.#entry = entry;
  }

  /** Makes the entry. @throws TsmError `unavailable` */
  static async open(name: string, tree: TsmTree = { mkdir, rmdir, readFile, writeFile }): Promise<TsmDevice> {
    const entry = join(ROOT, name);
    await available(() => tree.mkdir(entry));
    return new TsmDevice(tree, entry);
  }

  /**
   * Opens a device, or returns null if the kernel has the tree but no driver of a processor that
   * reports.
   * @throws TsmError
   */
  static async openIfProvided(name: string, tree?: TsmTree): Promise<TsmDevice | null> {
    try {
      return await TsmDevice.open(name, tree);
    } catch (error) {
      const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
      if (code === 'ENXIO') return null;
      throw error;
    }
  }

  /** A report over exactly 64 bytes. @throws TsmError */
  async report(data: Uint8Array): Promise<TsmReport> {
    if (data.length !== INPUT_LENGTH) throw new RangeError(`${data.length} bytes of report data, expected 64`);
    return this.#queue.run(() => this.#report(data));
  }

  async #report(data: Uint8Array): Promise<TsmReport> {
    await available(() => this.#tree.writeFile(join(this.#entry, 'inblob'), data));
    const asked = await this.#read('generation');
    const outblob = await this.#read('outblob');
    // A driver without anything to add has no such file, or refuses to read it.
    const auxblob = await this.#read('auxblob').catch(() => new Uint8Array());
    const provider = Buffer.from(await this.#read('provider'))
      .toString('utf8')
      .trim();
    const answered = await this.#read('generation');
    if (!Buffer.from(asked).equals(answered))
      throw new TsmError('interfered', 'the request changed while it was answered');
    return { provider, outblob, auxblob };
  }

  /** Removes the entry. */
  async close(): Promise<void> {
    await available(() => this.#tree.rmdir(this.#entry));
  }

  #read(attribute: string): Promise<Uint8Array> {
    return available(() => this.#tree.readFile(join(this.#entry, attribute)));
  }
}

async function available<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (cause) {
    throw new TsmError('unavailable', `no report: ${(cause as Error).message}`, { cause });
  }
}
