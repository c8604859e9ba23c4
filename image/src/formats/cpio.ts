/**
 * cpio archives in the "newc" form that Linux unpacks as its first root (kernel:
 * buffer-format.rst).
 */
import { ImageError } from '../errors.ts';

/** A file, folder or symbolic link. Owner is always root, time always 0. */
export type CpioEntry =
  | { readonly path: string; readonly type: 'file'; readonly mode: number; readonly data: Uint8Array }
  | { readonly path: string; readonly type: 'directory'; readonly mode: number }
  | { readonly path: string; readonly type: 'symlink'; readonly target: string };

const MAGIC = '070701';
const HEADER = 110;
const TRAILER = 'TRAILER!!!';
/** An image has about forty. */
const MAX_MEMBERS = 1 << 16;
const MAX_NAME = 4096;
const TYPE_BITS = { file: 0o100000, directory: 0o040000, symlink: 0o120000 } as const;

/**
 * Encodes one archive with its trailer. Its bytes depend on the entries alone, not on their order.
 * Missing parent folders are added with mode 0755, because the kernel makes none.
 * @throws ImageError `hostile-path` for a path that is not normal or stands twice
 */
export function encodeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const sorted = withParents(entries);
  const parts = sorted.map((entry, index) => header(entry, index + 1));
  const trailer = pad4(headerBytes(TRAILER, { ino: 0, mode: 0, links: 1, size: 0 }));
  const total = parts.reduce((sum, part) => sum + part.head.length + round4(part.body.length), trailer.length);
  const out = new Uint8Array(total);
  let at = 0;
  for (const { head, body } of parts) {
    out.set(head, at);
    out.set(body, at + head.length);
    at += head.length + round4(body.length);
  }
  out.set(trailer, at);
  return out;
}

/** Fields of a header, in order, each eight hexadecimal digits. */
const FIELDS = [
  'ino',
  'mode',
  'uid',
  'gid',
  'nlink',
  'mtime',
  'filesize',
  'devmajor',
  'devminor',
  'rdevmajor',
  'rdevminor',
  'namesize',
  'check',
] as const;

/** A member as it stands in an archive, with every field of its header. */
export interface CpioMember {
  readonly path: string;
  readonly fields: Readonly<Record<(typeof FIELDS)[number], number>>;
  readonly data: Uint8Array;
}

/**
 * Reads one archive back, as strictly as it is written.
 * @throws ImageError `archive-invalid`, `hostile-path`
 */
export function decodeCpio(bytes: Uint8Array): CpioEntry[] {
  const entries: CpioEntry[] = [];
  const seen = new Set<string>();
  for (let at = 0; ; ) {
    const { member, next } = readMember(bytes, at);
    if (member.path === TRAILER) {
      if (bytes.subarray(at + HEADER + TRAILER.length).some((byte) => byte !== 0))
        throw invalid('bytes after the trailer');
      return entries;
    }
    refuseHostile(member.path, seen);
    entries.push(entryOf(member.path, member.fields.mode, member.data));
    at = next;
  }
}

/**
 * Reads members of archives, one archive after the other, as the kernel takes them, trailers among
 * them. The result is for comparing, not for trusting.
 * @throws ImageError `archive-invalid`
 */
export function readMembers(bytes: Uint8Array): CpioMember[] {
  const members: CpioMember[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] === 0) {
      at++; // padding between archives
      continue;
    }
    const { member, next } = readMember(bytes, at);
    members.push(member);
    if (members.length > MAX_MEMBERS) throw invalid(`more than ${MAX_MEMBERS} members`);
    at = next;
  }
  return members;
}

function readMember(bytes: Uint8Array, at: number): { member: CpioMember; next: number } {
  const text = latin1(bytes.subarray(at, at + HEADER));
  if (!new RegExp(`^${MAGIC}[0-9a-f]{${HEADER - 6}}$`, 'i').test(text)) throw invalid(`no header at ${at}`);
  const fields = Object.fromEntries(
    FIELDS.map((name, index) => [name, Number.parseInt(text.slice(6 + index * 8, 14 + index * 8), 16)]),
  ) as CpioMember['fields'];
  const nameAt = at + HEADER;
  const dataAt = at + round4(HEADER + fields.namesize);
  // A name length near 2^32 would wrap around in `round4` and lead backwards.
  if (fields.namesize < 2 || fields.namesize > MAX_NAME || dataAt + fields.filesize > bytes.length)
    throw invalid(`entry at ${at} is truncated`);
  const path = latin1(bytes.subarray(nameAt, nameAt + fields.namesize - 1));
  const data = bytes.subarray(dataAt, dataAt + fields.filesize);
  return { member: { path, fields, data }, next: dataAt + round4(fields.filesize) };
}

function entryOf(path: string, bits: number, data: Uint8Array): CpioEntry {
  const mode = bits & 0o7777;
  switch (bits & 0o170000) {
    case TYPE_BITS.file:
      return { path, type: 'file', mode, data };
    case TYPE_BITS.directory:
      return { path, type: 'directory', mode };
    case TYPE_BITS.symlink:
      return { path, type: 'symlink', target: latin1(data) };
    default:
      throw new ImageError('hostile-path', `${path} is neither file, folder nor link`);
  }
}

function withParents(entries: readonly CpioEntry[]): CpioEntry[] {
  const byPath = new Map<string, CpioEntry>();
  const seen = new Set<string>();
  for (const entry of entries) {
    refuseHostile(entry.path, seen);
    byPath.set(entry.path, entry);
  }
  for (const { path } of entries) {
    for (let at = path.indexOf('/'); at > 0; at = path.indexOf('/', at + 1)) {
      const parent = path.slice(0, at);
      const found = byPath.get(parent);
      if (found === undefined) byPath.set(parent, { path: parent, type: 'directory', mode: 0o755 });
      else if (found.type !== 'directory') throw new ImageError('hostile-path', `${path} lies below a ${found.type}`);
    }
  }
  // By code unit, never by locale: the order is part of what is measured. A folder sorts before
  // what is in it.
  return [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

function header(entry: CpioEntry, ino: number): { head: Uint8Array; body: Uint8Array } {
  const body = entry.type === 'file' ? entry.data : Buffer.from(entry.type === 'symlink' ? entry.target : '', 'latin1');
  const mode = TYPE_BITS[entry.type] | (entry.type === 'symlink' ? 0o777 : entry.mode);
  const links = entry.type === 'directory' ? 2 : 1;
  return { head: pad4(headerBytes(entry.path, { ino, mode, links, size: body.length })), body };
}

function headerBytes(path: string, of: { ino: number; mode: number; links: number; size: number }): Uint8Array {
  const name = Buffer.from(`${path}\0`, 'latin1');
  // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor,
  // namesize, check
  const fields = [of.ino, of.mode, 0, 0, of.links, 0, of.size, 0, 0, 0, 0, name.length, 0];
  return Buffer.concat([
    Buffer.from(MAGIC + fields.map((field) => field.toString(16).padStart(8, '0')).join('')),
    name,
  ]);
}

/** Paths of the image are ASCII, relative and normal; anything else has no reason to be here. */
function refuseHostile(path: string, seen: Set<string>): void {
  const normal =
    /^[\x21-\x7e]{1,1024}$/.test(path) && !path.split('/').some((part) => part === '' || part === '.' || part === '..');
  if (!normal || path === TRAILER) throw new ImageError('hostile-path', `path ${JSON.stringify(path.slice(0, 200))}`);
  if (seen.has(path)) throw new ImageError('hostile-path', `${path} occurs twice`);
  seen.add(path);
}

function round4(length: number): number {
  return (length + 3) & ~3;
}

function pad4(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([bytes, new Uint8Array(round4(bytes.length) - bytes.length)]);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

function invalid(message: string): ImageError {
  return new ImageError('archive-invalid', `cpio: ${message}`);
}
