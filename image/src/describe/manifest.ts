/** The manifest of a base image: what it is made of, why, and what a verifier needs of it. */
import type { DigestText } from '@enclaim/attestation/digest';
import type { ImageReference } from '@enclaim/attestation/measure';
import * as z from 'zod';
import { parseDocument } from '../document.ts';
import { ImageError } from '../errors.ts';
import { type LockedInput, lockedInputSchema } from '../inputs/lock.ts';
import { type LaunchParts, launchPartsSchema } from '../measure.ts';
import { type Origins, originsSchema } from '../programs/program-sources.ts';
import { type Component, componentsSchema } from './component.ts';

type Sha256Text = DigestText<'sha256'>;

/** Length in bytes and digest. */
export interface Sized {
  readonly size: number;
  readonly sha256: Sha256Text;
}

/** A file beside the manifest. */
export interface Artefact extends Sized {
  readonly file: string;
}

/** A part of the UKI: the stub, or a section by its name. */
export interface ManifestSection extends Sized {
  readonly name: string;
  readonly from: string;
  readonly reason: string;
}

/** A file, folder or link of the initrd. */
export interface ManifestContent {
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink';
  /** Octal, as `0755`. */
  readonly mode: string;
  readonly size: number;
  /** Digest of a file's bytes or a link's target; null for a folder. */
  readonly sha256: Sha256Text | null;
  readonly from: string;
  readonly reason: string;
}

/** A manifest. */
export interface Manifest {
  readonly enclaim: 'image/1';
  /** SHA-256 of the UKI: the image's identity. */
  readonly id: Sha256Text;
  /** The UKI, and its kernel and initrd for platforms that take them apart. */
  readonly artefacts: { readonly uki: Artefact; readonly kernel: Artefact; readonly initrd: Artefact };
  /** Reference values that verifiers compare with, by platform. */
  readonly references: { readonly tpm: ImageReference } & LaunchParts;
  /** Everything that was fetched, as locked. */
  readonly inputs: readonly LockedInput[];
  readonly sections: readonly ManifestSection[];
  /** Sorted by path. */
  readonly contents: readonly ManifestContent[];
  /** The packages that all of it comes from, by package URL. */
  readonly components: readonly Component[];
  /** The sources, packages, options and tools that our own programs were made of. */
  readonly origins: Origins;
}

const sha256 = z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]);
const size = z.int().nonnegative();
const text = z.string().max(4096);
const artefact = z.strictObject({ file: z.string().regex(/^[a-z0-9][a-z0-9.-]{0,63}$/), size, sha256 });
const provenance = { from: text, reason: text };

const manifestSchema: z.ZodType<Manifest> = z.strictObject({
  enclaim: z.literal('image/1'),
  id: sha256,
  artefacts: z.strictObject({ uki: artefact, kernel: artefact, initrd: artefact }),
  references: z.strictObject({
    tpm: z.strictObject({
      id: sha256,
      uki: sha256,
      kernel: sha256,
      initrd: sha256,
      sections: sha256,
      commandLine: z.string().min(1).max(2048),
    }),
    ...launchPartsSchema,
  }),
  inputs: z.array(lockedInputSchema).max(256),
  sections: z.array(z.strictObject({ name: text, size, sha256, ...provenance })).max(64),
  contents: z
    .array(
      z.strictObject({
        path: text,
        type: z.enum(['file', 'directory', 'symlink']),
        mode: z.string().regex(/^0[0-7]{3,4}$/),
        size,
        sha256: sha256.nullable(),
        ...provenance,
      }),
    )
    .max(4096),
  components: componentsSchema,
  origins: originsSchema,
});

/**
 * Reads a manifest.
 * @throws ImageError `manifest-invalid`, naming the first fields at fault, also if two of them
 *   contradict
 */
export function parseManifest(source: string): Manifest {
  const manifest = parseDocument(manifestSchema, source, 'manifest-invalid', 'manifest');
  const { inputs, sections, contents } = manifest;
  for (const names of [
    inputs.map(({ name }) => name),
    sections.map(({ name }) => name),
    contents.map(({ path }) => path),
  ]) {
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    // A comparison by name would see one of the two only.
    if (twice !== undefined) throw new ImageError('manifest-invalid', `manifest: ${twice} stands twice`);
  }
  refuseDiscord(manifest);
  return manifest;
}

/**
 * Refuses a manifest that states one fact differently in several places. Without this, a verifier
 * could read one of them and an auditor compare another.
 */
function refuseDiscord({ id, artefacts, references, sections }: Manifest): void {
  const { tpm, snp, tdx } = references;
  const section = (name: string): string | undefined => sections.find((one) => one.name === name)?.sha256;
  const { uki, kernel, initrd } = artefacts;
  const said = {
    id: [id, uki.sha256, tpm.id, snp.id, tdx.id],
    kernel: [kernel.sha256, snp.kernel, section('.linux')],
    initrd: [initrd.sha256, tpm.initrd, snp.initrd, section('.initrd')],
    commandLine: [tpm.commandLine, snp.commandLine, tdx.commandLine],
  };
  for (const [name, values] of Object.entries(said)) {
    if (new Set(values.filter((value) => value !== undefined)).size > 1)
      throw new ImageError('manifest-invalid', `manifest: ${name} is not the same everywhere`);
  }
}

/** Writes a manifest: the same bytes for the same image. */
export function formatManifest(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

/** JSON Schema of a manifest, for other people's tools. */
export function manifestJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(manifestSchema);
}
