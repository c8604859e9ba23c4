/** Audit: hold a manifest, the files beside it and a machine's registers against an image rebuilt from source. */
import { launchCommandLine, PREDICTED_REGISTERS, predictPcrs, type TpmLaunch } from '@enclaim/attestation/measure';
import type { ImageReference } from '@enclaim/attestation/references';
import type { LockedInput } from './lock.ts';
import type { Artefact, Manifest } from './manifest.ts';

/** One thing that is not the same. Null stands for "not there". */
export interface Difference {
  /** What differs: `input libc6`, `file usr/bin/node`, `section .cmdline`, `artefact uki`, `reference tpm.uki`, `register 9`. */
  readonly component: string;
  readonly claimed: string | null;
  readonly rebuilt: string | null;
}

/**
 * Every part in which two manifests differ, causes before effects: inputs, then files, then sections of the UKI, then
 * whole artefacts, then reference values. Empty where they describe the same image.
 */
export function compareManifests(claimed: Manifest, rebuilt: Manifest): Difference[] {
  return PARTS.flatMap(({ name, of }) => compareMaps(name, of(claimed), of(rebuilt)));
}

/** Artefacts of which the bytes at hand are not those of the manifest. `bytes` is null for a file that is missing. */
export function compareArtefact(name: string, claimed: Artefact, found: Artefact | null): Difference[] {
  const component = `artefact ${name}`;
  return compareMaps('', new Map([[component, claimed.sha256]]), new Map(found ? [[component, found.sha256]] : []));
}

/**
 * A command line that neither the image holds nor a launch of it under the policy has. Registers 9 and 12 only say which
 * line it was, and every line fits its own.
 */
export function compareCommandLine(
  image: ImageReference,
  { commandLine, policy }: Omit<TpmLaunch, 'boot'>,
): Difference[] {
  if (commandLine === null) return [];
  const component = 'command line';
  return compareMaps('', new Map([[component, commandLine]]), new Map([[component, launchCommandLine(image, policy)]]));
}

/**
 * Registers of a machine that are not those of the image under the launch. Both ways to boot are tried; where neither
 * fits, the differences to the likelier one are given.
 */
export function compareRegisters(
  registers: ReadonlyMap<number, Uint8Array>,
  image: ImageReference,
  launch: Omit<TpmLaunch, 'boot'>,
): Difference[] {
  const found = hexOf(registers);
  const [fewest = []] = (['kernel', 'disk'] as const)
    .map((boot) => compareMaps('register ', found, hexOf(predictPcrs(image, { ...launch, boot }))))
    .sort((a, b) => a.length - b.length);
  return fewest;
}

type Part = ReadonlyMap<string, string>;

const PARTS: readonly { name: string; of: (manifest: Manifest) => Part }[] = [
  { name: 'input ', of: ({ inputs }) => new Map(inputs.map((input) => [input.name, describeInput(input)])) },
  {
    name: 'file ',
    of: ({ contents }) => new Map(contents.map((c) => [c.path, `${c.type} ${c.mode} ${c.sha256 ?? ''}`.trimEnd()])),
  },
  { name: 'section ', of: ({ sections }) => new Map(sections.map(({ name, sha256 }) => [name, sha256])) },
  {
    name: 'artefact ',
    of: ({ artefacts }) => new Map(Object.entries(artefacts).map(([name, { sha256 }]) => [name, sha256])),
  },
  { name: '', of: ({ id }) => new Map([['image', id]]) },
  ...(['tpm', 'snp', 'tdx'] as const).map((platform) => ({
    name: `reference ${platform}.`,
    of: ({ references }: Manifest) =>
      new Map(Object.entries(references[platform]).map(([name, value]) => [name, textOf(value)])),
  })),
];

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function describeInput(input: LockedInput): string {
  return `${input.version} ${input.kind === 'deb' ? `sha256:${input.sha256}` : input.integrity}`;
}

function compareMaps(prefix: string, claimed: Part, rebuilt: Part): Difference[] {
  const names = new Set([...claimed.keys(), ...rebuilt.keys()]);
  return [...names].flatMap((name) => {
    const [left, right] = [claimed.get(name) ?? null, rebuilt.get(name) ?? null];
    return left === right ? [] : [{ component: `${prefix}${name}`, claimed: left, rebuilt: right }];
  });
}

/** Only what can be predicted: other registers hold firmware and machine, which no rebuild can know. */
function hexOf(registers: ReadonlyMap<number, Uint8Array>): Part {
  return new Map(
    PREDICTED_REGISTERS.flatMap((index) => {
      const value = registers.get(index);
      return value === undefined ? [] : [[String(index), value.toHex()] as const];
    }),
  );
}
