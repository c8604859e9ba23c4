/** A Debian mirror and a registry of npm on loopback, for packages that hold nothing but a text. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { LockedDeb, LockedInput } from '../src/inputs/lock.ts';

/** The input with other bytes behind it: those of {@link contentOf}. */
export function pretendInput<T extends LockedInput>(input: T): T {
  const bytes = contentOf(input);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
  return { ...input, size: bytes.length, sha256, ...(input.kind === 'npm' ? { integrity } : {}) };
}

/** What stands for a package. */
export function contentOf({ name, version }: LockedInput): Buffer {
  return Buffer.from(`${name} ${version}`);
}

/** What a mirror has. Inputs of npm are served as a registry does. */
export interface MirrorContents {
  readonly inputs: readonly LockedInput[];
  /** What the signed index of each suite names, by the suite. */
  readonly indexes?: Readonly<Record<string, readonly LockedDeb[]>>;
}

/** A mirror that serves what `contents` is at the time of each request. */
export class SuiteMirror {
  contents: MirrorContents = { inputs: [] };
  readonly base: string;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    server.on('request', (request, response) => {
      const body = this.#find(decodeURIComponent(request.url ?? '').slice(1));
      if (body === undefined) response.writeHead(404).end();
      else response.end(body);
    });
  }

  static async start(): Promise<SuiteMirror> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new SuiteMirror(server);
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #find(path: string): Uint8Array | string | undefined {
    const { inputs, indexes = {} } = this.contents;
    const [, suite = '', file] = /^dists\/([^/]+)\/(.*)$/.exec(path) ?? [];
    const index = indexes[suite];
    if (index !== undefined) {
      const packed = storedXz(Buffer.from(index.map(stanzaOf).join('\n')));
      const digest = createHash('sha256').update(packed).digest('hex');
      return file === 'InRelease'
        ? `Codename: ${suite}\nSHA256:\n ${digest} ${packed.length} main/binary-amd64/Packages.xz\n`
        : packed;
    }
    const deb = inputs.find((input) => input.kind === 'deb' && input.path === path);
    if (deb !== undefined) return contentOf(deb);
    const npm = inputs.find((input) => input.kind === 'npm' && path.startsWith(input.name));
    if (npm?.kind !== 'npm') return undefined;
    if (path.endsWith('.tgz')) return contentOf(npm);
    const { name, version, integrity } = npm;
    const dist = { tarball: `${this.base}${name}/-/x.tgz`, integrity };
    return JSON.stringify({ name, 'dist-tags': { latest: version }, versions: { [version]: { name, version, dist } } });
  }
}

function stanzaOf({ name, version, path, size, sha256 }: LockedDeb): string {
  return `Package: ${name}\nVersion: ${version}\nFilename: ${path}\nSize: ${size}\nSHA256: ${sha256}\n`;
}

/** A fake `gpgv` that finds every signature good, before this process's path. */
export interface PretendedGpgv {
  /** Runs an action as if no file in one process pretended: with the machine's own gpgv, or none. */
  readonly without: <T>(action: () => Promise<T>) => Promise<T>;
  readonly end: () => void;
}

const FAKE = join(tmpdir(), 'enclaim-gpgv-');

/** Stands for what Debian's key really signed: it copies. */
export function pretendGpgv(): PretendedGpgv {
  const bin = mkdtempSync(FAKE);
  writeFileSync(join(bin, 'gpgv'), '#!/bin/sh\nexec cp "$5" "$4"\n', { mode: 0o755 });
  const keep = (which: (folder: string) => boolean): string =>
    (process.env.PATH ?? '').split(delimiter).filter(which).join(delimiter);
  process.env.PATH = `${bin}${delimiter}${process.env.PATH}`;
  return {
    without: async (action) => {
      const path = process.env.PATH;
      process.env.PATH = keep((folder) => !folder.startsWith(FAKE));
      try {
        return await action();
      } finally {
        process.env.PATH = path;
      }
    },
    end: () => {
      process.env.PATH = keep((folder) => folder !== bin);
      rmSync(bin, { recursive: true, force: true });
    },
  };
}

/** An .xz file that holds its bytes as they are: one block of LZMA2 without compression. */
export function storedXz(bytes: Uint8Array): Buffer {
  const number = (value: number, width = 4): Buffer => {
    const buffer = Buffer.alloc(width);
    buffer.writeUIntLE(value, 0, width);
    return buffer;
  };
  const sum = (part: Uint8Array): Buffer => number(crc32(part));
  const padded = (part: Uint8Array): Buffer => Buffer.concat([part, Buffer.alloc((4 - (part.length % 4)) % 4)]);
  const vli = (value: number): Buffer => {
    const out: number[] = [];
    for (let rest = value; ; rest = Math.floor(rest / 128)) {
      if (rest < 128) return Buffer.from([...out, rest]);
      out.push((rest % 128) | 128);
    }
  };
  const flags = Buffer.from([0, 1]); // CRC32
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 65_536) {
    const part = bytes.subarray(at, at + 65_536);
    const size = part.length - 1;
    chunks.push(Buffer.from([at === 0 ? 1 : 2, size >> 8, size & 255]), Buffer.from(part));
  }
  const data = Buffer.concat([...chunks, Buffer.from([0])]);
  const header = Buffer.from([2, 0, 0x21, 1, 0x16, 0, 0, 0]);
  const block = Buffer.concat([header, sum(header), data]);
  const records = padded(Buffer.concat([Buffer.from([0, 1]), vli(block.length + 4), vli(bytes.length)]));
  const index = Buffer.concat([records, sum(records)]);
  const footer = Buffer.concat([number(index.length / 4 - 1), flags]);
  return Buffer.concat([
    Buffer.from([0xfd, ...Buffer.from('7zXZ'), 0]),
    flags,
    sum(flags),
    padded(block),
    sum(bytes),
    index,
    sum(footer),
    footer,
    Buffer.from('YZ'),
  ]);
}
