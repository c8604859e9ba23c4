/**
 * Anatomy: everything of an image or an app bundle that can differ, by name, and the components
 * that each part is made of. An audit compares two of them and tells a cause from its effects.
 */
import { createHash } from 'node:crypto';
import { bundleDigest, parseBundle } from '@enclaim/attestation/bundle';
import { DecodeError } from '@enclaim/attestation/errors';
import { type PeImage, parsePe } from '@enclaim/attestation/measure';
import { readDescriptors } from '@enclaim/policy-schema';
import { digestOfCanonical } from '@enclaim/policy-schema/admission';
import { KERNEL_PREFIX, STUB_PACKAGE } from '../contents.ts';
import { formatManifest, type Manifest } from '../describe/manifest.ts';
import { ImageError } from '../errors.ts';
import { type CpioMember, readMembers } from '../formats/cpio.ts';
import { unpackZstd } from '../formats/zstd.ts';
import type { LockedInput } from '../inputs/lock.ts';
import { packageOf } from '../programs/program-sources.ts';

/** One thing that another image has alike, otherwise, or not. */
export interface Part {
  /**
   * Kind and name: `package zod`, `source runtime/src/log/record-log.ts`, `word quiet`, `file
   * init`, `policy /claims`.
   */
  readonly id: string;
  readonly value: string;
  /** Ids that it is made of; one that ends in `*` stands for all that begin so. */
  readonly of: readonly string[];
  /** Ids of what it is part of. If that is missing or cannot be read, this is missing with it. */
  readonly within: readonly string[];
}

/** Parts that compile our programs. */
const COMPILER = ['tool node', 'tool esbuild', 'tool esbuild binary', 'option *'];

/** The parts that a manifest states of its image, causes before effects. */
export function partsOfManifest(manifest: Manifest): Part[] {
  const { origins, inputs, contents, sections, artefacts, references, id } = manifest;
  const sources = Object.values(origins.programs).flatMap((program) => Object.entries(program));
  return [
    ...named('tool', origins.tools),
    ...named('option', origins.options),
    ...named('package', origins.packages),
    ...inputs.map((input) => part(`input ${input.name}`, describeInput(input))),
    ...[...new Map(sources)].map(([path, digest]) => part(`source ${path}`, digest, fromPackage(path))),
    ...partsOfCommandLine(references.tpm.commandLine),
    ...contents.map(({ path, type, mode, sha256, from }) =>
      part(`file ${path}`, describeFile(type, mode, sha256), madeFrom(path, from, origins)),
    ),
    ...sections.map(({ name, sha256 }) => part(`section ${name}`, sha256, ofSection(name))),
    part('artefact uki', artefacts.uki.sha256, OF_UKI),
    part('artefact kernel', artefacts.kernel.sha256, ['section .linux', `input ${KERNEL_PREFIX}*`]),
    part('artefact initrd', artefacts.initrd.sha256, ['section .initrd', ...ofSection('.initrd')]),
    part('image', id, OF_UKI),
    ...leaves(references).map(([path, value]) => {
      const firmware = /^\/(\w+)\/firmware\//.exec(path)?.[1];
      const of =
        firmware === undefined
          ? [...OF_UKI, 'artefact *']
          : [`input ovmf-${firmware === 'snp' ? 'amdsev' : 'inteltdx'}`];
      return part(`reference ${path.slice(1).replaceAll('/', '.')}`, value, of);
    }),
    // Whatever else it says: nothing of a manifest is left uncompared.
    part('manifest', formatManifest(manifest), ['*']),
  ];
}

/** The words of a command line, and the line that they make. */
function partsOfCommandLine(line: string): Part[] {
  const words = [...new Set(line.split(' '))];
  return [...words.map((word) => part(`word ${word}`, word)), part('command line of the image', line, ['word *'])];
}

/**
 * The parts in the bytes of an initrd. Among them are header fields that a manifest does not
 * mention.
 */
export async function partsOfInitrd(bytes: Uint8Array): Promise<Part[]> {
  const whole = part('artefact initrd', digestOf(bytes), ofSection('.initrd'));
  const archive = await unpackZstd(bytes, MAX_UNPACKED).catch((error: ImageError) => error);
  if (archive instanceof Error) return [part(INITRD_FORM, archive.message), whole];
  const members = readable(() => readMembers(archive));
  if (members instanceof Error) return [part(INITRD_FORM, members.message), whole];
  return [
    ...readableIn(INITRD_FORM, [
      ...members.filter(({ path }) => path !== 'TRAILER!!!').flatMap(partsOfMember),
      part('order of files', members.map(({ path, fields }) => `${fields.ino}:${path}`).join(' '), ['file *']),
      part('padding of the initrd', String(archive.length - packedLength(members)), ['file *', 'order of files']),
    ]),
    whole,
  ];
}

const INITRD_FORM = 'form of the initrd';
const UKI_FORM = 'form of the UKI';

/** Marks parts that can be read only from something that has the form `form`. */
function readableIn(form: string, parts: readonly Part[]): Part[] {
  return parts.map((one) => ({ ...one, within: [...one.within, form] }));
}

function partsOfMember({ path, fields, data }: CpioMember): Part[] {
  const { mode, uid, gid, nlink, mtime, devmajor, devminor, rdevmajor, rdevminor, check } = fields;
  const type = TYPES.get(mode & 0o170000) ?? 'other';
  const digest = type === 'directory' ? null : digestOf(data);
  return [
    part(`file ${path}`, describeFile(type, `0${(mode & 0o7777).toString(8)}`, digest)),
    part(
      `attributes of ${path}`,
      `owner ${uid}:${gid}, time ${mtime}, ${nlink} links, device ${devmajor}:${devminor} ${rdevmajor}:${rdevminor}, check ${check}`,
      [],
      [`file ${path}`],
    ),
  ];
}

const TYPES: ReadonlyMap<number, string> = new Map([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
]);
const MAX_UNPACKED = 1 << 30;

/** Bytes that members take up without anything between archives. */
function packedLength(members: readonly CpioMember[]): number {
  const round4 = (length: number): number => Math.ceil(length / 4) * 4;
  return members.reduce((sum, { fields }) => sum + round4(110 + fields.namesize) + round4(fields.filesize), 0);
}

/** The kernel, which is taken from its package as it is. */
export function partsOfKernel(bytes: Uint8Array): Part[] {
  return [part('artefact kernel', digestOf(bytes), [`input ${KERNEL_PREFIX}*`])];
}

/** The parts in the bytes of a UKI, header fields among them. */
export function partsOfUki(bytes: Uint8Array): Part[] {
  const whole = part('artefact uki', digestOf(bytes), OF_UKI);
  const image = readable(() => parsePe(bytes));
  if (image instanceof Error) return [part(UKI_FORM, image.message), whole];
  const { sections, sectionTableAt, timestampAt, checksumAt, sizeOfHeaders } = image;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = sections.reduce((last, { rawOffset, rawSize }) => Math.max(last, rawOffset + rawSize), sizeOfHeaders);
  const rest = Buffer.from(bytes.subarray(0, sizeOfHeaders));
  rest.fill(0, timestampAt, timestampAt + 4).fill(0, checksumAt, checksumAt + 4);
  return [
    ...readableIn(UKI_FORM, [
      part('header time of the UKI', String(view.getUint32(timestampAt, true)), STUB),
      part('header checksum of the UKI', String(view.getUint32(checksumAt, true)), STUB),
      ...sections.flatMap((section, index) => [
        part(`section ${section.name}`, digestOf(contentOf(image, index)), ofSection(section.name)),
        part(`padding of ${section.name}`, digestOf(paddingOf(image, index)), OF_LAYOUT, [`section ${section.name}`]),
        part(`flags of ${section.name}`, hex(view.getUint32(sectionTableAt + index * 40 + 36, true)), STUB, [
          `section ${section.name}`,
        ]),
      ]),
      part('order of sections', sections.map(({ name }) => name).join(' '), ['section *']),
      part('layout of the UKI', digestOf(rest), OF_LAYOUT),
      part('bytes after the last section', digestOf(bytes.subarray(end))),
    ]),
    whole,
  ];
}

/**
 * Reads, or returns the error. Bytes that cannot be read are a difference to what was rebuilt, not
 * the end of the audit.
 */
function readable<T>(read: () => T): T | DecodeError | ImageError {
  try {
    return read();
  } catch (error) {
    if (error instanceof DecodeError || error instanceof ImageError) return error;
    throw error;
  }
}

function contentOf({ bytes, sections }: PeImage, index: number): Uint8Array {
  const { rawOffset = 0, rawSize = 0, virtualSize = 0 } = sections[index] ?? {};
  return bytes.subarray(rawOffset, rawOffset + Math.min(virtualSize, rawSize));
}

function paddingOf({ bytes, sections }: PeImage, index: number): Uint8Array {
  const { rawOffset = 0, rawSize = 0, virtualSize = 0 } = sections[index] ?? {};
  return bytes.subarray(rawOffset + Math.min(virtualSize, rawSize), rawOffset + rawSize);
}

const STUB = ['section stub', `input ${STUB_PACKAGE}`];
const OF_LAYOUT = ['section *', 'order of sections', 'flags of *'];
const OF_UKI = [
  ...OF_LAYOUT,
  'header *',
  'padding of *',
  'layout of the UKI',
  'bytes after the last section',
  UKI_FORM,
  'command line of the image',
];

function ofSection(name: string): string[] {
  if (name === '.initrd')
    return [
      INITRD_FORM,
      'file *',
      'attributes of *',
      'order of files',
      'padding of the initrd',
      'tool node',
      'tool zstd',
    ];
  if (name === '.cmdline') return ['word *', 'command line of the image'];
  if (name === '.linux') return [`input ${KERNEL_PREFIX}*`];
  if (name === 'stub') return [`input ${STUB_PACKAGE}`];
  return name === '.uname' ? [] : STUB;
}

/**
 * The parts of an app bundle: its policy field by field, its protos file by file, its handlers.
 * @throws DecodeError, PolicyError
 */
export function partsOfBundle(bytes: Uint8Array): Part[] {
  const { policy, descriptors, handlers } = parseBundle(bytes);
  const files = [...readDescriptors(descriptors).registry.files];
  return [
    ...partsOfPolicy(policy),
    ...files.map(({ name, proto }) => part(`proto ${name}.proto`, digestOf(Buffer.from(JSON.stringify(proto, inHex))))),
    part('descriptors', digestOf(descriptors), ['proto *']),
    part('handlers', Buffer.from(handlers).toString('utf8')),
    part('bundle', bundleDigest(bytes), ['policy*', 'descriptors', 'handlers']),
  ];
}

/** The fields of a policy, from its canonical bytes. */
export function partsOfPolicy(bytes: Uint8Array): Part[] {
  return [
    ...leaves(JSON.parse(Buffer.from(bytes).toString('utf8'))).map(([path, value]) => part(`policy ${path}`, value)),
    part('policy', digestOfCanonical(bytes), ['policy /*']),
  ];
}

/** Options that a descriptor carries are bytes, numbers may be big. */
function inHex(_name: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return value.toHex();
  return typeof value === 'bigint' ? String(value) : value;
}

/**
 * Fields of a JSON value by pointer (RFC 6901). A list is one field, because ours are sets or
 * ordered on purpose.
 */
function leaves(value: unknown, pointer = ''): [string, string][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [[pointer, JSON.stringify(value)]];
  return Object.entries(value).flatMap(([name, field]) =>
    leaves(field, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`),
  );
}

function madeFrom(path: string, from: string, { programs }: Manifest['origins']): string[] {
  const sources = programs[path];
  if (sources !== undefined) return [...Object.keys(sources).map((source) => `source ${source}`), ...COMPILER];
  const input = /^([a-z0-9@/.+-]+): /.exec(from)?.[1];
  return input === undefined ? [] : [`input ${input}`];
}

function fromPackage(source: string): string[] {
  const name = packageOf(source);
  return name === null ? [] : [`package ${name}`];
}

function describeInput(input: LockedInput): string {
  return `${input.version} ${input.kind === 'deb' ? `sha256:${input.sha256}` : `${input.integrity} sha256:${input.sha256}`}`;
}

function describeFile(type: string, mode: string, sha256: string | null): string {
  return `${type} ${mode} ${sha256 ?? ''}`.trimEnd();
}

function named(kind: string, values: Readonly<Record<string, string>>): Part[] {
  return Object.entries(values).map(([name, value]) => part(`${kind} ${name}`, value));
}

/**
 * Makes a part. It is made of other parts by id (`of`), and is there only with those that it is
 * within.
 */
export function part(id: string, value: string, of: readonly string[] = [], within: readonly string[] = []): Part {
  return { id, value, of, within };
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
