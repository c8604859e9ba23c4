/**
 * Reference values: the values that a verifier compares evidence with, and the roots and keys that
 * it trusts (docs/reference/formats.md, "References").
 */

import * as z from 'zod';
import { decodeJson } from '../canonical.ts';
import type { DigestText } from '../digest.ts';
import { sha256Text, sha384Text } from '../digest-schema.ts';
import { AppraisalError } from '../errors.ts';
import { type ImageReference, imageSchema } from '../measure/image-reference.ts';
import type { SevSection } from '../measure/ovmf.ts';
import type { Vmm } from '../measure/snp-vmsa.ts';
import { type LoggedReferences, loggedSchema } from '../release/release-log.ts';
import { type Ed25519Text, ed25519Text, VM_LAYERS, type VmLayer } from '../statement.ts';
import { type CloudReferences, cloudSections } from './cloud.ts';
import { type SignedDeployment, signedDeploymentSchema } from './deployment.ts';
import { type SnpPins, snpPins } from './snp-pins.ts';
import { floorsSchema, type SnpFloors } from './tcb-floors.ts';
import { type TdxPins, tdxPins } from './tdx-pins.ts';

/** Roots and keys that the references trust to vouch for a platform. */
export interface Anchors {
  /** SHA-256 of TPMT_PUBLIC of attestation keys that are trusted by themselves. */
  readonly attestationKeys: readonly DigestText<'sha256'>[];
  /**
   * SHA-256 of the DER of root certificates under which endorsement keys of real TPMs are
   * certified.
   */
  readonly endorsementRoots: readonly DigestText<'sha256'>[];
  /** The same for software TPMs, whose maker can sign anything. Only for development. */
  readonly unsafeSwtpmRoots: readonly DigestText<'sha256'>[];
  /**
   * Certificates (base64 of DER) to build paths with. Not trusted by themselves: only the digests
   * above are.
   */
  readonly certificates: readonly string[];
  /**
   * SHA-256 of the DER of root certificates under which attestation keys of real TPMs are
   * certified. If there are some and evidence brings certificates of its key, those decide and no
   * credential is activated.
   */
  readonly attestationRoots?: readonly DigestText<'sha256'>[];
  /** Makers whose own roots are trusted. Absent: of none, and their evidence is refused. */
  readonly vendors?: readonly Vendor[];
  /**
   * SHA-256 of the DER of roots of processors in software, which can sign anything. Only for
   * development.
   */
  readonly unsafeSiliconRoots?: readonly DigestText<'sha256'>[];
  /**
   * Keys of developers whose machines attest nothing (`enclaim dev`). References that name some
   * accept nothing else.
   */
  readonly unsafeSimulatedKeys?: readonly Ed25519Text[];
}

/**
 * Makers of confidential processors, and the clouds that put hypervisors or firmware in their place
 * or beside them.
 */
export type Vendor = 'amd' | 'intel' | 'aws' | 'google';

/** A launch of a base image under SEV-SNP that is accepted. */
export interface SnpReference extends SnpPins {
  /** SHA-256 of the UKI: the base image's identity. */
  readonly id: DigestText<'sha256'>;
  /** The OVMF build, as {@link describeSnpFirmware} describes it. */
  readonly firmware: {
    readonly digest: DigestText<'sha384'>;
    readonly sections: readonly SevSection[];
    readonly resetEip: number;
    readonly hashesTable: number | null;
  };
  /** SHA-256 of the kernel and initrd files as the launcher hands them over. */
  readonly kernel: DigestText<'sha256'>;
  readonly initrd: DigestText<'sha256'>;
  /** To which the policy is appended at launch. */
  readonly commandLine: string;
  /** Accepted numbers of processors. */
  readonly vcpus: readonly number[];
  readonly vmm: Vmm;
  /** CPUID 1 EAX of the processor model that QEMU shows. */
  readonly cpuSignature: number;
  /** SEV_FEATURES. */
  readonly features: number;
  readonly floors: SnpFloors;
  /**
   * SHA-384 of the keys whose ID block is accepted, and of those that certify them; or "any", also
   * none.
   */
  readonly idKeys: readonly DigestText<'sha384'>[] | 'any';
  readonly authorKeys: readonly DigestText<'sha384'>[] | 'any';
}

/** A launch of a base image under TDX that is accepted. */
export interface TdxReference extends TdxPins {
  readonly id: DigestText<'sha256'>;
  /**
   * The firmware and its memory model. `rtmr0` has its configuration and the machine's, `rtmr1` the
   * boot up to the kernel.
   */
  readonly mrtd: DigestText<'sha384'>;
  readonly rtmr0: RtmrReference;
  readonly rtmr1: RtmrReference;
  readonly initrd: DigestText<'sha384'>;
  /** To which the policy is appended at launch. */
  readonly commandLine: string;
  /**
   * Text that firmware puts before command line and policy. OVMF of 2026 names the initrd of a
   * direct boot there. Absent: nothing.
   */
  readonly commandLineStart?: 'initrd=initrd ';
  /** Text that firmware appends. OVMF before 2026 names the initrd there. */
  readonly commandLineEnd: '' | ' initrd=initrd';
  /**
   * `policy`: the guest extends policy and bundle. `zero`: its kernel cannot extend (Linux before
   * 6.16), so the register must stay zero; RTMR2 names the policy and the boot statement the
   * bundle.
   */
  readonly rtmr3: 'policy' | 'zero';
}

/** A register's value, or the events that lead to it, in order. */
export type RtmrReference = DigestText<'sha384'> | readonly RtmrEventReference[];

/**
 * An event of a register: SHA-384 that was extended, or "any" if the evidence's event log may say
 * which.
 */
export interface RtmrEventReference {
  /** For people. */
  readonly name: string;
  readonly digest: DigestText<'sha384'> | 'any';
}

/** From when until when something holds: RFC 3339, UTC, milliseconds. */
export interface Validity {
  readonly notBefore: string;
  readonly notAfter: string;
}

/**
 * A policy that is accepted for a window beside the one that the references name, while an update
 * rolls out.
 */
export interface RolloutPolicy extends Validity {
  readonly policy: DigestText<'sha384'>;
  /** As {@link References.bundles}, under this policy. */
  readonly bundles: References['bundles'];
}

/** Reference values and trust anchors of one deployment. */
export interface References extends CloudReferences {
  readonly enclaim: 'references/1';
  /** When the references hold. Absent: the verdict says that they name no end. */
  readonly validity?: Validity;
  /** Base images that are accepted. Empty accepts none. */
  readonly images: readonly ImageReference[];
  readonly policy: DigestText<'sha384'>;
  /** App bundles that are accepted under the policy, or "any": handlers are confined. */
  readonly bundles: 'any' | readonly DigestText<'sha384'>[];
  /**
   * Policies that machines may still have while they are updated, each until its end. Absent:
   * `policy` alone.
   */
  readonly rollout?: readonly RolloutPolicy[];
  /** Key of the owner that every accepted policy names, or "any". */
  readonly owner: 'any' | Ed25519Text;
  readonly anchors: Anchors;
  /**
   * Deployments that the owner signed. If an owner is named, a device that none of them names is
   * refused. Beside owner "any" there must be none.
   */
  readonly deployments?: readonly SignedDeployment[];
  /** Accepted launches of confidential VMs. Absent accepts none. */
  readonly snp?: readonly SnpReference[];
  readonly tdx?: readonly TdxReference[];
  /** Layers of confinement that workers may start without. Absent: none. Only for development. */
  readonly unsafeUnconfined?: readonly VmLayer[];
  /** Release logs that images and policy have to be in. Absent: none is demanded. */
  readonly logged?: LoggedReferences;
}

const u32 = z.int().min(0).max(0xffff_ffff);
const commandLine = z.string().min(1).max(2048);
const keyDigests = z.union([z.literal('any'), z.array(sha384Text).min(1).max(64)]);
/** Shape of the description of a firmware image. */
export const snpFirmwareSchema: z.ZodType<SnpReference['firmware']> = z.strictObject({
  digest: sha384Text,
  sections: z
    .array(
      z.strictObject({
        kind: z.enum(['secMem', 'secrets', 'cpuid', 'svsmCaa', 'kernelHashes']),
        gpa: u32,
        size: u32.max(1 << 20),
      }),
    )
    .max(64),
  resetEip: u32,
  hashesTable: u32.nullable(),
});

const snpSchema: z.ZodType<SnpReference> = z.strictObject({
  id: sha256Text,
  firmware: snpFirmwareSchema,
  kernel: sha256Text,
  initrd: sha256Text,
  commandLine,
  vcpus: z.array(z.int().min(1).max(512)).min(1).max(16),
  vmm: z.enum(['qemu', 'ec2', 'gce']),
  cpuSignature: u32,
  features: u32,
  floors: floorsSchema,
  idKeys: keyDigests,
  authorKeys: keyDigests,
  ...snpPins,
});
const rtmrSchema: z.ZodType<RtmrReference> = z.union([
  sha384Text,
  z
    .array(z.strictObject({ name: z.string().min(1).max(128), digest: z.union([sha384Text, z.literal('any')]) }))
    .min(1)
    .max(100),
]);
const tdxSchema: z.ZodType<TdxReference> = z.strictObject({
  id: sha256Text,
  mrtd: sha384Text,
  rtmr0: rtmrSchema,
  rtmr1: rtmrSchema,
  initrd: sha384Text,
  commandLine,
  commandLineStart: z.literal('initrd=initrd ').exactOptional(),
  commandLineEnd: z.enum(['', ' initrd=initrd']),
  rtmr3: z.enum(['policy', 'zero']),
  ...tdxPins,
});

/** A window without an end in sight would accept two policies for good. */
const MAX_ROLLOUT_MS = 366 * 24 * 3_600_000;
const MAX_ROLLOUT_POLICIES = 8;
const validity = { notBefore: z.iso.datetime({ precision: 3 }), notAfter: z.iso.datetime({ precision: 3 }) };
const bundles = z.union([z.literal('any'), z.array(sha384Text).max(64)]);
const rolloutSchema: z.ZodType<RolloutPolicy> = z.strictObject({ policy: sha384Text, bundles, ...validity }).refine(
  ({ notBefore, notAfter }) => {
    const length = Date.parse(notAfter) - Date.parse(notBefore);
    return length >= 0 && length <= MAX_ROLLOUT_MS;
  },
  { error: 'a window that ends before it begins, or more than 366 days later' },
);

const referencesSchema: z.ZodType<References> = z.strictObject({
  enclaim: z.literal('references/1'),
  validity: z.strictObject(validity).exactOptional(),
  images: z.array(imageSchema).max(64),
  policy: sha384Text,
  bundles,
  rollout: z.array(rolloutSchema).min(1).max(MAX_ROLLOUT_POLICIES).exactOptional(),
  owner: z.union([z.literal('any'), ed25519Text]),
  anchors: z.strictObject({
    attestationKeys: z.array(sha256Text).max(1024),
    endorsementRoots: z.array(sha256Text).max(64),
    unsafeSwtpmRoots: z.array(sha256Text).max(64),
    certificates: z.array(z.base64().max(16 * 1024)).max(64),
    attestationRoots: z.array(sha256Text).max(64).exactOptional(),
    vendors: z
      .array(z.enum(['amd', 'intel', 'aws', 'google']))
      .max(4)
      .exactOptional(),
    unsafeSiliconRoots: z.array(sha256Text).max(8).exactOptional(),
    unsafeSimulatedKeys: z.array(ed25519Text).min(1).max(8).exactOptional(),
  }),
  deployments: z.array(signedDeploymentSchema).max(64).exactOptional(),
  snp: z.array(snpSchema).max(16).exactOptional(),
  tdx: z.array(tdxSchema).max(64).exactOptional(),
  azureSnp: cloudSections.azureSnp.exactOptional(),
  azureTdx: cloudSections.azureTdx.exactOptional(),
  gcp: cloudSections.gcp.exactOptional(),
  nitro: cloudSections.nitro.exactOptional(),
  unsafeUnconfined: z.array(z.enum(VM_LAYERS)).max(VM_LAYERS.length).exactOptional(),
  logged: loggedSchema.exactOptional(),
});

const LIMIT = 1024 * 1024;
/** The years that RFC 3339 can write. */
const EARLIEST = '0001-01-01T00:00:00.000Z';
const LATEST = '9999-12-31T23:59:59.999Z';

/**
 * Reads a references file (JSON, UTF-8). @throws AppraisalError `references`
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parseReferences } from '@enclaim/attestation';
 *
 * const { policy, images } = parseReferences(await readFile('references.json'));
 * console.log(policy, images.length);
 * ```
 */
export function parseReferences(bytes: Uint8Array): References {
  const references = decode(bytes);
  refuseUnheldDeployments(references);
  refuseEndlessRollout(references);
  refuseMixedSimulation(references);
  return references;
}

/**
 * Refuses a rollout of the policy that the references already accept for good: its end would end
 * nothing.
 */
function refuseEndlessRollout({ policy, rollout = [] }: References): void {
  if (rollout.some((one) => one.policy === policy))
    throw new AppraisalError('references', `${policy} is accepted for good, and cannot be for a window, too`);
}

/**
 * Adds deployments to those that the references have.
 * @throws AppraisalError `references` without an owner
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parseReferences, withDeployments } from '@enclaim/attestation';
 * import { parseDeployment } from '@enclaim/attestation/deployment';
 *
 * const references = parseReferences(await readFile('references.json'));
 * const deployment = parseDeployment(await readFile('deployment.json'));
 * console.log(withDeployments(references, [deployment]).deployments?.length);
 * ```
 */
export function withDeployments(references: References, more: readonly SignedDeployment[]): References {
  if (more.length === 0) return references;
  const joined = { ...references, deployments: [...(references.deployments ?? []), ...more] };
  refuseUnheldDeployments(joined);
  return joined;
}

/**
 * Shortens the validity of references to that of the document they came in. `from` and `until` are
 * in milliseconds since 1970.
 */
export function withValidity(
  references: References,
  { from, until }: { readonly from: number; readonly until: number },
): References {
  const { notBefore, notAfter } = references.validity ?? {};
  const start = Math.max(from, Date.parse(notBefore ?? EARLIEST));
  const end = Math.min(until, Date.parse(notAfter ?? LATEST));
  const [first, last] = [start, end].map((time) => new Date(time).toISOString()) as [string, string];
  return { ...references, validity: { notBefore: first, notAfter: last } };
}

/**
 * Refuses references that hold deployments but accept any owner: no key could verify the
 * deployments.
 * @throws AppraisalError `references`
 */
export function refuseUnheldDeployments({ owner, deployments = [] }: References): void {
  if (owner !== 'any' || deployments.length === 0) return;
  throw new AppraisalError(
    'references',
    `owner "any" holds no deployments, given are ${deployments.length}: name the key`,
  );
}

/**
 * Refuses references that accept simulated evidence beside any other.
 *
 * **Trust**: an auditor could overlook a developer's key beside the values for production, and that
 * key opens everything.
 * @throws AppraisalError `references`
 */
export function refuseMixedSimulation({ images, anchors, ...references }: References): void {
  const { unsafeSimulatedKeys, ...others } = anchors;
  if (unsafeSimulatedKeys === undefined) return;
  const alone: readonly string[] = ['enclaim', 'validity', 'policy', 'bundles', 'owner', 'unsafeUnconfined'];
  const beside = [
    ...(images.length > 0 ? ['images'] : []),
    ...Object.entries(others).flatMap(([name, { length }]) => (length > 0 ? [`anchors.${name}`] : [])),
    ...Object.keys(references).filter((name) => !alone.includes(name)),
  ];
  if (beside.length === 0) return;
  throw new AppraisalError(
    'references',
    `anchors.unsafeSimulatedKeys accepts machines that attest nothing, and stands alone: not beside ${beside.join(', ')}`,
  );
}

function decode(bytes: Uint8Array): References {
  try {
    return decodeJson(referencesSchema, bytes, LIMIT);
  } catch (cause) {
    throw new AppraisalError('references', `references are unusable: ${(cause as Error).message}`, { cause });
  }
}
