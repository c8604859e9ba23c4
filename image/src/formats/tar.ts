/**
 * Tar archives of packages, read as hostile: every path stays inside, and no file is written
 * through a link.
 */
import { promisify } from 'node:util';
import { gunzip, zstdDecompress } from 'node:zlib';
import { unpackTar } from 'modern-tar';
import xz from 'xz-decompress';
import { ImageError } from '../errors.ts';

/**
 * A member of an archive; `data` is empty for folders and links, `link` is as written in the
 * archive.
 */
export interface TarFile {
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink';
  readonly mode: number;
  readonly data: Uint8Array;
  readonly link?: string;
}

/** Members by normal path: no leading `./` or `/`, no `.` or `..` segment. */
export type TarFiles = ReadonlyMap<string, TarFile>;

const MAX_UNPACKED = 1 << 30;
/** **Cost**: in zlib's own pieces of 16 KiB, joining a Node takes as long as unpacking it. */
const PIECE_BYTES = 1 << 20;
const MAX_PATH = 4096;
const TYPES: Readonly<Record<string, TarFile['type']>> = {
  file: 'file',
  directory: 'directory',
  symlink: 'symlink',
  link: 'hardlink',
};

/**
 * Reads a tar archive; `name` ends in `.tar`, `.tar.gz`, `.tgz`, `.tar.xz` or `.tar.zst`.
 * @param wanted - Names, as written in the archive, to keep in memory; default all.
 * @throws ImageError `archive-invalid`, `hostile-path`
 */
export async function readTar(
  name: string,
  bytes: Uint8Array,
  wanted: (path: string) => boolean = () => true,
): Promise<TarFiles> {
  const plain = await decompress(name, bytes);
  const filter = (header: { name: string }): boolean => wanted(header.name);
  const entries = await unpackTar(plain, { strict: true, filter }).catch((cause) => {
    throw new ImageError('archive-invalid', `${name}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  });
  const files = new Map<string, TarFile>();
  for (const { header, data } of entries) {
    const path = normalPath(header.name, name);
    if (path === '') continue;
    const type = TYPES[header.type ?? 'file'];
    if (type === undefined) throw new ImageError('hostile-path', `${name}: ${path} is a ${header.type}`);
    const before = files.get(path);
    if (before !== undefined && !(before.type === 'directory' && type === 'directory')) {
      throw new ImageError('hostile-path', `${name}: ${path} occurs twice`);
    }
    files.set(path, {
      type,
      mode: (header.mode ?? 0o644) & 0o777, // set-id bits are never taken over
      data: data ?? new Uint8Array(),
      ...(header.linkname === undefined || header.linkname === '' ? {} : { link: header.linkname }),
    });
  }
  refuseBelowLinks(name, files);
  return files;
}

/**
 * The regular file at `path`, following links inside the archive as if its root were `/`.
 * @throws ImageError `file-missing`, `hostile-path`
 */
export function fileAt(files: TarFiles, path: string): TarFile {
  let at = path;
  for (let hops = 0; hops < 16; hops++) {
    const file = files.get(at);
    if (file === undefined)
      throw new ImageError('file-missing', `no ${at} in the archive${at === path ? '' : ` (link from ${path})`}`);
    if (file.type === 'file') return file;
    if (file.link === undefined) throw new ImageError('file-missing', `${at} is a ${file.type}, not a file`);
    at = linkTarget(at, file);
  }
  throw new ImageError('hostile-path', `${path} is a loop of links`);
}

/**
 * Where a link of an archive points to, as a normal path below the archive's root.
 * @throws ImageError `hostile-path` for a link that leaves the root
 */
export function linkTarget(path: string, file: TarFile): string {
  const link = file.link ?? '';
  const relative = file.type === 'symlink' && !link.startsWith('/');
  const parts = relative ? path.split('/').slice(0, -1) : [];
  for (const part of link.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined)
      throw new ImageError('hostile-path', `${path} links to ${link}, outside its archive`);
  }
  if (link.includes('\0') || link.length > MAX_PATH)
    throw new ImageError('hostile-path', `${path} has a malformed link`);
  return parts.join('/');
}

/** `./a/b/` → `a/b`; the root itself is the empty string. */
function normalPath(raw: string, name: string): string {
  const parts = raw
    .replace(/^(\.\/)+/, '')
    .replace(/\/$/, '')
    .split('/');
  if (raw === '.' || raw === './') return '';
  if (
    raw.length > MAX_PATH ||
    raw.includes('\0') ||
    parts.some((part) => part === '' || part === '.' || part === '..')
  ) {
    throw new ImageError('hostile-path', `${name}: path ${JSON.stringify(raw.slice(0, 200))}`);
  }
  return parts.join('/');
}

/**
 * Refuses a file below a symlink, because it would be written wherever that link points. No archive
 * of ours needs one.
 */
function refuseBelowLinks(name: string, files: TarFiles): void {
  for (const [path, file] of files) {
    if (file.link !== undefined) linkTarget(path, file);
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      const parent = files.get(path.slice(0, at));
      if (parent !== undefined && parent.type !== 'directory') {
        throw new ImageError('hostile-path', `${name}: ${path} lies below a ${parent.type}`);
      }
    }
  }
}

async function decompress(name: string, bytes: Uint8Array): Promise<Uint8Array> {
  const limit = { maxOutputLength: MAX_UNPACKED, chunkSize: PIECE_BYTES };
  try {
    if (/\.(tgz|tar\.gz)$/.test(name)) return await promisify(gunzip)(bytes, limit);
    if (name.endsWith('.tar.zst')) return await promisify(zstdDecompress)(bytes, limit);
  } catch (cause) {
    throw new ImageError('archive-invalid', `${name}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  if (name.endsWith('.tar.xz')) return decompressXz(bytes);
  if (name.endsWith('.tar')) return bytes;
  throw new ImageError('archive-invalid', `${name}: unknown compression`);
}

/**
 * Unpacks one xz stream, at most 1 GiB. The decoder checks the stream's own CRCs.
 * @throws ImageError `archive-invalid`
 */
export async function decompressXz(bytes: Uint8Array): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of new xz.XzReadableStream(new Blob([bytes as Uint8Array<ArrayBuffer>]).stream())) {
      chunks.push(Uint8Array.from(chunk)); // the decoder may use its buffer again
      length += chunk.length;
      if (length > MAX_UNPACKED) throw new Error(`more than ${MAX_UNPACKED} bytes`);
    }
  } catch (cause) {
    throw new ImageError('archive-invalid', `xz: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  return Buffer.concat(chunks);
}
