/** The tree of configfs-tsm, answered by processors in software. */

import { basename } from 'node:path';
import type { TsmReport, TsmTree } from '../../guest/src/tsm/index.ts';

/** The kernel's side of one report tree: entries are made, written, read and removed, and nothing else goes. */
export class FakeTsmTree implements TsmTree {
  readonly #answer: (data: Uint8Array) => TsmReport;
  readonly #entries = new Map<string, { inblob: Uint8Array | null; generation: number }>();
  /** Runs before each answer: whoever else is at work on this entry. */
  interfere: (write: () => void) => void = () => {};

  constructor(answer: (data: Uint8Array) => TsmReport) {
    this.#answer = answer;
  }

  async mkdir(path: string): Promise<void> {
    if (this.#entries.has(path)) throw new Error('EEXIST');
    this.#entries.set(path, { inblob: null, generation: 0 });
  }

  async rmdir(path: string): Promise<void> {
    if (!this.#entries.delete(path)) throw new Error('ENOENT');
  }

  async writeFile(path: string, content: Uint8Array): Promise<void> {
    const entry = this.#entryOf(path);
    if (basename(path) !== 'inblob') throw new Error('EACCES');
    if (content.length === 0 || content.length > 64) throw new Error('EINVAL');
    entry.inblob = Uint8Array.from(content);
    entry.generation++;
  }

  async readFile(path: string): Promise<Uint8Array> {
    const entry = this.#entryOf(path);
    if (basename(path) === 'generation') return Buffer.from(`${entry.generation}\n`);
    if (entry.inblob === null) throw new Error('EINVAL');
    if (basename(path) === 'outblob') {
      this.interfere(() => entry.generation++);
    }
    const report = this.#answer(entry.inblob);
    const { provider, outblob, auxblob } = report;
    const files: Readonly<Record<string, Uint8Array>> = { provider: Buffer.from(`${provider}\n`), outblob, auxblob };
    const found = files[basename(path)];
    if (found === undefined || found.length === 0) throw new Error('ENOENT');
    return found;
  }

  #entryOf(path: string): { inblob: Uint8Array | null; generation: number } {
    const entry = this.#entries.get(path.slice(0, path.lastIndexOf('/')));
    if (entry === undefined) throw new Error('ENOENT');
    return entry;
  }
}

const GUIDS = {
  ark: 'c0b406a4-a803-4952-9743-3fb6014cd0ae',
  ask: '4ab7b379-bbac-4fe4-a02f-05aef327c782',
  vcek: '63da758d-e664-4564-adc5-f4b93be8accd',
  crl: '92f81bc3-5811-4d3d-97ff-d19f88dc67ea',
} as const;

/** A certificate table as hosts write it. */
export function certificateTable(parts: Readonly<Partial<Record<keyof typeof GUIDS, Uint8Array>>>): Uint8Array {
  const entries = Object.entries(parts) as [keyof typeof GUIDS, Uint8Array][];
  let offset = 24 * (entries.length + 1);
  const head = entries.map(([kind, data]) => {
    const entry = Buffer.alloc(24);
    entry.set(Buffer.from(GUIDS[kind].replaceAll('-', ''), 'hex'));
    entry.writeUInt32LE(offset, 16);
    entry.writeUInt32LE(data.length, 20);
    offset += data.length;
    return entry;
  });
  return Buffer.concat([...head, Buffer.alloc(24), ...entries.map(([, data]) => data)]);
}
