/** Debian packages, deb(5): an ar archive with a tar archive of the package's files. */
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { ImageError } from '../errors.ts';
import { fileAt, linkTarget, readTar, type TarFiles } from '../formats/tar.ts';

/** A member of an ar archive, ar(5) common format. */
export interface ArMember {
  readonly name: string;
  readonly data: Uint8Array;
}

const AR_MAGIC = '!<arch>\n';
const AR_HEADER = 60;

/**
 * Reads an ar archive of at most 16 members.
 * @throws ImageError `archive-invalid`
 */
export function readAr(bytes: Uint8Array): ArMember[] {
  const text = (from: number, to: number): string => Buffer.from(bytes.subarray(from, to)).toString('latin1');
  if (text(0, 8) !== AR_MAGIC) throw new ImageError('archive-invalid', 'not an ar archive');
  const members: ArMember[] = [];
  for (let at = 8; at < bytes.length; ) {
    const size = text(at + 48, at + 58).trimEnd();
    const end = at + AR_HEADER + Number(size);
    if (text(at + 58, at + 60) !== '`\n' || !/^\d{1,10}$/.test(size) || end > bytes.length || members.length === 16) {
      throw new ImageError('archive-invalid', `ar member at ${at} is truncated or malformed`);
    }
    members.push({
      name: text(at, at + 16)
        .trimEnd()
        .replace(/\/$/, ''),
      data: bytes.subarray(at + AR_HEADER, end),
    });
    at = end + (end % 2);
  }
  return members;
}

/**
 * The files that a Debian package would install.
 * @throws ImageError `archive-invalid`, `hostile-path`
 */
export async function readDeb(bytes: Uint8Array): Promise<TarFiles> {
  const members = readAr(bytes);
  const [version, control, data] = members;
  if (
    members.length !== 3 ||
    version?.name !== 'debian-binary' ||
    Buffer.from(version.data).toString('latin1') !== '2.0\n' ||
    !control?.name.startsWith('control.tar') ||
    !data?.name.startsWith('data.tar')
  ) {
    throw new ImageError(
      'archive-invalid',
      `not a package of format 2.0: members ${members.map((m) => m.name).join(', ')}`,
    );
  }
  return readTar(data.name, data.data);
}

/**
 * Unpacks a package into a folder, which must not hold links of another process. Links stay inside;
 * absolute ones become relative to the folder.
 * @throws ImageError `archive-invalid`, `hostile-path`
 */
export async function unpackDeb(bytes: Uint8Array, directory: string): Promise<void> {
  const files = await readDeb(bytes);
  for (const [path, file] of files) {
    const target = join(directory, path);
    if (file.type === 'directory') {
      await mkdir(target, { recursive: true });
      continue;
    }
    await mkdir(dirname(target), { recursive: true });
    if (file.type === 'symlink') {
      await symlink(relative(dirname(target), join(directory, linkTarget(path, file))) || '.', target);
    } else {
      await writeFile(target, fileAt(files, path).data, { flag: 'wx' });
      await chmod(target, file.mode | 0o600);
    }
  }
}
