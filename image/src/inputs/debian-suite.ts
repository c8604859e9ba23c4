/**
 * A Debian suite: its signed index, read to find newer versions of locked packages. Builds never
 * need it.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ImageError } from '../errors.ts';
import { decompressXz } from '../formats/tar.ts';
import { download } from './download.ts';
import { type LockedDeb, lockedInputSchema } from './lock.ts';
import { aptMirrors, deb822Fields } from './mirror.ts';
import type { PlaceOptions } from './places.ts';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const INDEX = 'main/binary-amd64/Packages.xz';
const MAX_RELEASE = 1 << 20;
const MAX_INDEX = 1 << 26;

/**
 * Finds the newest version of each locked package in a suite, in their order, from the first mirror
 * with a usable index. Such an index is signed by Debian's archive key, is of this suite, has not
 * run out, and offers nothing older than what is locked.
 *
 * **Trust**: a signature alone would let a mirror send any index that Debian ever published.
 * @throws ImageError `mirror-unknown`; `fetch-failed`, which says why each mirror's index is not
 *   usable
 */
export async function newestInSuite(
  suite: string,
  locked: readonly LockedDeb[],
  options: PlaceOptions = {},
): Promise<LockedDeb[]> {
  const { signal } = options;
  const bases = options.mirrors ?? (await aptMirrors());
  if (bases.length === 0)
    throw new ImageError('mirror-unknown', 'apt names no Debian mirror here; name one with --mirror');
  const failures: string[] = [];
  for (const base of bases) {
    try {
      const found = newest(suite, locked, await readIndex(base.replace(/\/*$/, '/'), suite, options));
      refuseOlder(found, locked);
      return found;
    } catch (error) {
      signal?.throwIfAborted();
      failures.push(`${base}: ${error instanceof Error ? error.message : error}`);
    }
  }
  throw new ImageError('fetch-failed', `no mirror has a usable index of ${suite}: ${failures.join('; ')}`);
}

/**
 * dpkg's order of versions, deb-version(7): epoch, upstream, revision; `~` sorts before the end.
 */
export function compareVersions(a: string, b: string): number {
  const split = (version: string): [number, string, string] => {
    const [, epoch = '0', rest = ''] = /^(?:(\d+):)?(.*)$/.exec(version) ?? [];
    const dash = rest.lastIndexOf('-');
    return [Number(epoch), dash < 0 ? rest : rest.slice(0, dash), dash < 0 ? '' : rest.slice(dash + 1)];
  };
  const [left, right] = [split(a), split(b)];
  return left[0] - right[0] || compareParts(left[1], right[1]) || compareParts(left[2], right[2]);
}

async function readIndex(mirror: string, suite: string, { signal, patience }: PlaceOptions): Promise<string> {
  const base = `${mirror}dists/${suite}`;
  const release = deb822Fields(await verifyRelease(await download(`${base}/InRelease`, MAX_RELEASE, signal, patience)));
  refuseOtherRelease(release, suite);
  const line = (release.get('sha256') ?? '').match(new RegExp(`([0-9a-f]{64}) +\\d+ ${INDEX}(?= |$)`));
  const packed = await download(`${base}/${INDEX}`, MAX_INDEX, signal, patience);
  const digest = createHash('sha256').update(packed).digest('hex');
  if (digest !== line?.[1])
    throw new ImageError('hash-mismatch', `${INDEX} has SHA-256 ${digest}, the release says ${line?.[1]}`);
  return Buffer.from(await decompressXz(packed)).toString('utf8');
}

/** Returns the signed text alone. **Trust**: any writer can add text around it in the file. */
async function verifyRelease(bytes: Uint8Array): Promise<string> {
  const scratch = await mkdtemp(join(tmpdir(), 'enclaim-release-'));
  try {
    const [signed, text] = [join(scratch, 'InRelease'), join(scratch, 'Release')];
    await writeFile(signed, bytes);
    await promisify(execFile)('gpgv', ['--keyring', KEYRING, '--output', text, signed]);
    return await readFile(text, 'utf8');
  } catch (cause) {
    throw new ImageError(
      'fetch-failed',
      `the release file is not signed by a key of ${KEYRING} (gpgv must be installed)`,
      { cause },
    );
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** A release file that is signed and of another suite, or of another time. */
function refuseOtherRelease(release: ReadonlyMap<string, string>, suite: string): void {
  const [codename = 'no suite', name = 'no suite'] = [release.get('codename'), release.get('suite')];
  if (codename !== suite && name !== suite)
    throw new ImageError('fetch-failed', `the release file is of ${codename} (${name}), expected ${suite}`);
  const until = release.get('valid-until');
  // Negated, so that what is no time has run out.
  if (until !== undefined && !(Date.parse(until) > Date.now()))
    throw new ImageError('fetch-failed', `the release file was valid until ${until}`);
}

function refuseOlder(found: readonly LockedDeb[], locked: readonly LockedDeb[]): void {
  for (const [index, { name, version }] of locked.entries()) {
    const offered = found[index];
    if (offered !== undefined && compareVersions(offered.version, version) < 0)
      throw new ImageError('fetch-failed', `${name} ${offered.version}, older than the locked ${version}`);
  }
}

/**
 * Returns, for each locked package, the newest one that the index has, in the order of the locked
 * ones.
 */
function newest(suite: string, locked: readonly LockedDeb[], index: string): LockedDeb[] {
  const families = locked.map(({ name }) => familyOf(name));
  const found = new Map<string, LockedDeb>();
  for (const stanza of index.split('\n\n')) {
    const name = /^Package: (.*)$/m.exec(stanza)?.[1] ?? '';
    const family = familyOf(name);
    if (!families.includes(family)) continue;
    const fields = deb822Fields(stanza);
    const entry = lockedInputSchema.safeParse({
      kind: 'deb',
      name,
      version: fields.get('version'),
      suite,
      path: fields.get('filename'),
      size: Number(fields.get('size')),
      sha256: fields.get('sha256'),
    }).data;
    if (entry?.kind !== 'deb') continue;
    const before = found.get(family);
    if (before === undefined || compareVersions(entry.version, before.version) > 0) found.set(family, entry);
  }
  const missing = families.filter((family) => !found.has(family));
  if (missing.length > 0) throw new ImageError('file-missing', `${suite} has no ${missing.join(', ')}`);
  return families.flatMap((family) => found.get(family) ?? []);
}

/**
 * Names the family of a package: two packages have the same if one is a later version of the other.
 * Only kernels of one series have several names.
 */
function familyOf(name: string): string {
  return name.replace(/^(linux-image-\d+\.\d+\.).*(-cloud-amd64)$/, '$1*$2');
}

/** Non-digit and digit parts in turn, beginning with a non-digit one that may be empty. */
function parts(text: string): string[] {
  return [/^\D*/.exec(text)?.[0] ?? '', ...(text.replace(/^\D*/, '').match(/\d+|\D+/g) ?? [])];
}

function compareParts(a: string, b: string): number {
  const [left, right] = [parts(a), parts(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const [x = '', y = ''] = [left[i], right[i]];
    const order = i % 2 === 0 ? compareText(x, y) : Number(x) - Number(y);
    if (order !== 0) return order;
  }
  return 0;
}

function compareText(a: string, b: string): number {
  const rank = (text: string, at: number): number => {
    const char = text[at];
    if (char === undefined) return 0;
    if (char === '~') return -1;
    return /[A-Za-z]/.test(char) ? char.charCodeAt(0) : char.charCodeAt(0) + 256;
  };
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const order = rank(a, i) - rank(b, i);
    if (order !== 0) return order;
  }
  return 0;
}
