/**
 * Audit: compares a manifest, the files beside it, a bundle and a machine's registers with a
 * rebuild from source.
 */
import {
  type ImageReference,
  launchCommandLine,
  PREDICTED_REGISTERS,
  predictPcrs,
  type TpmLaunch,
} from '@enclaim/attestation/measure';
import type { Image } from '../build/build.ts';
import type { Manifest } from '../describe/manifest.ts';
import { DOCUMENTS, type DocumentName } from '../publish/provenance.ts';
import {
  type Part,
  part,
  partsOfBundle,
  partsOfInitrd,
  partsOfKernel,
  partsOfManifest,
  partsOfPolicy,
  partsOfUki,
} from './parts.ts';

/**
 * One difference. Null stands for "not there". Long values are cut to where they begin to differ.
 */
export interface Difference {
  /**
   * The differing component: `input libc6`, `source runtime/src/log/record-log.ts`, `word quiet`,
   * `file init`, `section .linux`, `register 9`.
   */
  readonly component: string;
  readonly claimed: string | null;
  readonly rebuilt: string | null;
  /**
   * Other differing components that it is made of. Empty: the difference begins here, and the
   * auditor looks here first.
   */
  readonly because: readonly string[];
}

/**
 * An image as it was handed to the auditor: a manifest, and the files beside it; null for one that
 * is missing.
 */
export interface ClaimedImage {
  readonly manifest: Manifest;
  readonly files: Readonly<Record<keyof Manifest['artefacts'], Uint8Array | null>>;
  /**
   * Bytes of the manifest and of the documents made from it, as they lie there. An absent one is
   * not compared.
   */
  readonly documents: Readonly<Partial<Record<DocumentName, Uint8Array>>>;
}

/** A machine's claims by signed evidence. */
export interface ClaimedMachine {
  /** Registers of a TPM. */
  readonly registers: ReadonlyMap<number, Uint8Array>;
  readonly launch: Omit<TpmLaunch, 'boot'>;
  /** Canonical bytes of the attested policy. */
  readonly policyBytes: Uint8Array;
}

/** Both sides of one comparison. */
type Sides = readonly [claimed: readonly Part[], rebuilt: readonly Part[]];

/** Returns all differences between claimed and rebuilt. A claim that is null is not compared. */
export async function audit(
  claimed: {
    readonly image: ClaimedImage | null;
    readonly bundle: Uint8Array | null;
    readonly machine: ClaimedMachine | null;
  },
  rebuilt: { readonly image: Image; readonly bundle: Uint8Array | null },
): Promise<Difference[]> {
  const { image, bundle, machine } = claimed;
  const reference = rebuilt.image.manifest.references.tpm;
  return compare([
    ...(image === null ? [] : await sidesOfImage(image, rebuilt.image)),
    ...(bundle === null || rebuilt.bundle === null
      ? []
      : [[partsOfBundle(bundle), partsOfBundle(rebuilt.bundle)] as const]),
    ...(machine === null ? [] : [sidesOfCommandLine(reference, machine.launch), sidesOfRegisters(machine, reference)]),
    ...(machine === null || rebuilt.bundle === null ? [] : [sidesOfApp(machine, rebuilt.bundle)]),
  ]);
}

/** Every part in which two manifests differ. Empty if they describe the same image. */
export function compareManifests(claimed: Manifest, rebuilt: Manifest): Difference[] {
  return compare([[partsOfManifest(claimed), partsOfManifest(rebuilt)]]);
}

/**
 * Compares an app bundle with a rebuilt one: policy field by field, protos file by file, handlers.
 * @throws DecodeError, PolicyError
 */
export function compareBundles(claimed: Uint8Array, rebuilt: Uint8Array): Difference[] {
  return compare([[partsOfBundle(claimed), partsOfBundle(rebuilt)]]);
}

/**
 * Compares the manifest and the bytes beside it, which may have been changed after it was written,
 * or before.
 */
export async function compareImages(claimed: ClaimedImage, rebuilt: Image): Promise<Difference[]> {
  return compare(await sidesOfImage(claimed, rebuilt));
}

/**
 * Reports a command line that neither the image holds nor a launch of it under the policy has.
 * Registers 9 and 12 only say which line it was, and every line fits its own.
 */
export function compareCommandLine(image: ImageReference, launch: Omit<TpmLaunch, 'boot'>): Difference[] {
  return compare([sidesOfCommandLine(image, launch)]);
}

/**
 * Reports registers of a machine that are not those of the image under the launch. Both ways to
 * boot are tried. If neither fits, the differences to the likelier one are given.
 */
export function compareRegisters(
  registers: ReadonlyMap<number, Uint8Array>,
  image: ImageReference,
  launch: Omit<TpmLaunch, 'boot'>,
): Difference[] {
  return compare([sidesOfRegisters({ registers, launch }, image)]);
}

/**
 * Returns the differences, causes before effects. An effect is a difference that is made of another
 * difference. Only a rebuild without that other one would show whether it explains the whole
 * effect.
 */
function compare(all: readonly Sides[]): Difference[] {
  const found = new Map<
    string,
    { id: string; claimed: string | null; rebuilt: string | null; of: readonly string[] }
  >();
  for (const [claimed, rebuilt] of all) {
    const [left, right] = [byId(claimed), byId(rebuilt)];
    for (const id of new Set([...left.keys(), ...right.keys()])) {
      const [a, b] = [left.get(id), right.get(id)];
      if (a?.value === b?.value) continue;
      const [one, other] = excerpts(a?.value ?? null, b?.value ?? null);
      const key = JSON.stringify([id, one, other]);
      const of = [...(a?.of ?? []), ...(b?.of ?? []), ...(found.get(key)?.of ?? [])];
      // What is on one side only is missing on the other, with what it is within.
      if (a === undefined || b === undefined) of.push(...((a ?? b)?.within ?? []));
      found.set(key, { id, claimed: one, rebuilt: other, of });
    }
  }
  const ids = [...new Set([...found.values()].map(({ id }) => id))];
  const differences = [...found.values()].map(({ id, claimed, rebuilt, of }) => ({
    component: id,
    claimed,
    rebuilt,
    because: ids.filter((other) => other !== id && of.some((pattern) => matches(pattern, other))),
  }));
  return differences.sort((a, b) => Number(a.because.length > 0) - Number(b.because.length > 0));
}

/** Two parts of one name on one side are one part of both values: neither can hide the other. */
function byId(parts: readonly Part[]): Map<string, Part> {
  const map = new Map<string, Part>();
  for (const each of parts) {
    const before = map.get(each.id);
    map.set(each.id, before === undefined ? each : { ...each, value: `${before.value}, and again ${each.value}` });
  }
  return map;
}

function matches(pattern: string, id: string): boolean {
  return pattern.endsWith('*') ? id.startsWith(pattern.slice(0, -1)) : id === pattern;
}

const MAX_SHOWN_DIFFERENCES = 200;

/** Both values if they are short, otherwise the text around their first difference. */
function excerpts(a: string | null, b: string | null): [string | null, string | null] {
  if (Math.max(a?.length ?? 0, b?.length ?? 0) <= MAX_SHOWN_DIFFERENCES) return [a, b];
  let at = 0;
  while (a !== null && b !== null && at < a.length && a[at] === b[at]) at++;
  const from = Math.max(0, at - 60);
  const cut = (text: string | null): string | null =>
    text && `at ${at}: …${text.slice(from, from + MAX_SHOWN_DIFFERENCES)}…`;
  return [cut(a), cut(b)];
}

async function sidesOfImage({ manifest, files, documents }: ClaimedImage, rebuilt: Image): Promise<Sides[]> {
  const readers = { uki: partsOfUki, kernel: partsOfKernel, initrd: partsOfInitrd } as const;
  const sides: Sides[] = [[partsOfManifest(manifest), partsOfManifest(rebuilt.manifest)]];
  sides.push(...sidesOfDocuments(documents, manifest, rebuilt.manifest));
  for (const name of ['initrd', 'kernel', 'uki'] as const) {
    const bytes = files[name];
    // Of equal bytes no part can differ.
    if (bytes !== null && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).equals(rebuilt[name])) continue;
    const own = await readers[name](rebuilt[name]);
    if (bytes === null) sides.push([[], own.filter(({ id }) => id === `artefact ${name}`)]);
    else sides.push([await readers[name](bytes), own]);
  }
  return sides;
}

/**
 * Documents that are not, byte for byte, what the manifest beside them gives. Equal documents
 * differ in nothing but what the manifest says.
 *
 * **Trust**: without this, a field that stands twice could be read in one way here and in another
 * way by a verifier.
 */
function sidesOfDocuments(documents: ClaimedImage['documents'], claimed: Manifest, rebuilt: Manifest): Sides[] {
  return (Object.keys(DOCUMENTS) as DocumentName[]).flatMap((name) => {
    const bytes = documents[name];
    if (bytes === undefined || Buffer.from(DOCUMENTS[name](claimed)).equals(bytes)) return [];
    const id = name === 'manifest.json' ? 'artefact manifest' : `document ${name}`;
    const own = Buffer.from(DOCUMENTS[name](rebuilt));
    return [[[part(id, Buffer.from(bytes).toString('latin1'))], [part(id, own.toString('latin1'))]] as const];
  });
}

function sidesOfCommandLine(image: ImageReference, { commandLine, policy }: Omit<TpmLaunch, 'boot'>): Sides {
  if (commandLine === null) return [[], []];
  const own = launchCommandLine(image, policy);
  return [[part('command line', commandLine)], [part('command line', own, ['command line of the image'])]];
}

function sidesOfRegisters(
  { registers, launch }: Pick<ClaimedMachine, 'registers' | 'launch'>,
  image: ImageReference,
): Sides {
  const found = partsOfRegisters(registers);
  const [likelier = []] = (['kernel', 'disk'] as const)
    .map((boot) => partsOfRegisters(predictPcrs(image, { ...launch, boot })))
    .sort((a, b) => different(found, a) - different(found, b));
  return [found, likelier];
}

function different(a: readonly Part[], b: readonly Part[]): number {
  return b.filter(({ id, value }) => a.find((one) => one.id === id)?.value !== value).length;
}

/**
 * Parts of the registers that can be predicted. Other registers hold firmware and machine, which no
 * rebuild can know.
 */
function partsOfRegisters(registers: ReadonlyMap<number, Uint8Array>): Part[] {
  return PREDICTED_REGISTERS.flatMap((index) => {
    const value = registers.get(index);
    return value === undefined ? [] : [part(`register ${index}`, value.toHex(), HELD[index])];
  });
}

/** Components that each register holds. */
const HELD: Readonly<Record<number, readonly string[]>> = {
  4: ['artefact uki', 'artefact kernel'],
  9: ['command line', 'command line of the image', 'artefact initrd'],
  11: ['section *'],
  12: ['command line', 'command line of the image'],
  14: ['bundle'],
  15: ['policy'],
};

/**
 * The attested policy field by field, and the digest of the bundle, of which the machine shows no
 * more.
 */
function sidesOfApp({ launch, policyBytes }: ClaimedMachine, bundle: Uint8Array): Sides {
  const own = partsOfBundle(bundle);
  return [
    [...partsOfPolicy(policyBytes), part('bundle', launch.bundle, ['policy', 'policy /*'])],
    own.filter(({ id }) => id === 'bundle' || id === 'policy' || id.startsWith('policy /')),
  ];
}
