/** The lock: every input of the image by name, version, size and hash. Nothing else enters a build. */
import { ImageError } from './errors.ts';

/** A Debian package. `path` is below a mirror's base, `size` in bytes. */
export interface LockedDeb {
  readonly kind: 'deb';
  readonly name: string;
  readonly version: string;
  readonly suite: string;
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/** An npm tarball. `integrity` is an SRI string (SHA-512), `size` in bytes. */
export interface LockedNpm {
  readonly kind: 'npm';
  readonly name: string;
  readonly version: string;
  readonly size: number;
  readonly integrity: string;
}

export type LockedInput = LockedDeb | LockedNpm;

/** A lock file as a whole; names are unique and sorted. */
export interface Lock {
  readonly version: 1;
  readonly inputs: readonly LockedInput[];
}

type FieldCheck = (value: unknown) => boolean;
const matches =
  (form: RegExp): FieldCheck =>
  (value) =>
    typeof value === 'string' && form.test(value);
const size: FieldCheck = (value) => Number.isSafeInteger(value) && Number(value) > 0 && Number(value) <= 1 << 30;

/** Field by field, so that no path, option or host can be smuggled through a lock into a URL or a command line. */
const FIELDS: Readonly<Record<LockedInput['kind'], Readonly<Record<string, FieldCheck>>>> = {
  deb: {
    kind: matches(/^deb$/),
    name: matches(/^[a-z0-9][a-z0-9.+-]{1,127}$/),
    version: matches(/^[A-Za-z0-9.+~:-]{1,128}$/),
    suite: matches(/^[a-z][a-z-]{1,63}$/),
    path: matches(/^pool(\/[A-Za-z0-9+~_-][A-Za-z0-9.+~_-]*){1,12}\.deb$/),
    size,
    sha256: matches(/^[0-9a-f]{64}$/),
  },
  npm: {
    kind: matches(/^npm$/),
    name: matches(/^(@[a-z0-9][a-z0-9._-]{0,99}\/)?[a-z0-9][a-z0-9._-]{0,99}$/),
    version: matches(/^\d[A-Za-z0-9.+-]{0,63}$/),
    size,
    integrity: matches(/^sha512-[A-Za-z0-9+/]{86}==$/),
  },
};

/**
 * Reads a lock file.
 * @throws ImageError `lock-invalid`, naming the entry and field
 */
export function parseLock(text: string): Lock {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ImageError('lock-invalid', 'lock is not JSON', { cause });
  }
  if (!isRecord(json) || json.version !== 1 || !Array.isArray(json.inputs) || Object.keys(json).length !== 2) {
    throw new ImageError('lock-invalid', 'lock must have version 1 and inputs, nothing else');
  }
  const inputs = json.inputs.map((entry: unknown, index) => parseInput(entry, `inputs[${index}]`));
  const unsorted = inputs.find((input, index) => index > 0 && (inputs[index - 1]?.name ?? '') >= input.name);
  if (unsorted !== undefined) {
    throw new ImageError('lock-invalid', `lock entries must be unique and sorted: ${unsorted.name} is out of place`);
  }
  return { version: 1, inputs };
}

/** Whether a value is an entry of a lock, field by field. */
export function isLockedInput(entry: unknown): entry is LockedInput {
  return wrongFields(entry).length === 0;
}

/** Writes a lock as `parseLock` reads it: sorted, one line for each entry, so that a change is a one-line diff. */
export function formatLock(inputs: readonly LockedInput[]): string {
  const sorted = [...inputs].sort((a, b) => (a.name < b.name ? -1 : 1));
  return `{\n  "version": 1,\n  "inputs": [\n${sorted.map((entry) => `    ${JSON.stringify(entry)}`).join(',\n')}\n  ]\n}\n`;
}

function parseInput(entry: unknown, at: string): LockedInput {
  if (isLockedInput(entry)) return entry;
  const wrong = wrongFields(entry);
  throw new ImageError('lock-invalid', `${at}: missing, malformed or unknown: ${wrong.join(', ')}`);
}

function wrongFields(entry: unknown): string[] {
  if (!isRecord(entry) || (entry.kind !== 'deb' && entry.kind !== 'npm')) return ['kind'];
  const fields = FIELDS[entry.kind];
  return [
    ...Object.entries(fields).flatMap(([name, check]) => (check(entry[name]) ? [] : [name])),
    ...Object.keys(entry).filter((name) => !Object.hasOwn(fields, name)),
  ];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
