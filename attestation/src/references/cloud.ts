/**
 * Reference values of clouds: accepted paravisors and firmware between the processor and the VM,
 * and accepted enclaves.
 */

import * as z from 'zod';
import { decodeJson } from '../canonical.ts';
import type { DigestText } from '../digest.ts';
import { sha384Text } from '../digest-schema.ts';
import { type SnpPins, snpPins } from './snp-pins.ts';
import { floorsSchema, type SnpFloors } from './tcb-floors.ts';
import { type TdxPins, tdxPins } from './tdx-pins.ts';

/** A signature that a paravisor was launched with (SEV-SNP ID block). */
export interface ParavisorSigner {
  /** SHA-384 of the key, as the report gives it. */
  readonly idKey: DigestText<'sha384'>;
  /**
   * 16 bytes each, hex.
   *
   * **Trust**: a maker signs more than paravisors with its key. Without these, any other guest that
   * it signed could name a vTPM key of its own.
   */
  readonly familyId: string;
  readonly imageId: string;
  /** Lowest accepted version of the image. */
  readonly minimumSvn: number;
}

/**
 * Paravisors of Azure under SEV-SNP that are accepted: by measurement, or by signer. If both are
 * empty, none is accepted.
 */
export interface AzureSnpReference extends SnpPins {
  /** Launch digests. */
  readonly measurements: readonly DigestText<'sha384'>[];
  readonly signers: readonly ParavisorSigner[];
  readonly floors: SnpFloors;
}

/** Paravisors of Azure under TDX that are accepted: their MRTD. */
export interface AzureTdxReference extends TdxPins {
  readonly measurements: readonly DigestText<'sha384'>[];
}

/**
 * Firmware of GCE that is accepted: launch digests (SEV-SNP) or MRTDs (TDX), or all that Google
 * endorsed at or after a time (RFC 3339, UTC, milliseconds). An endorsement never expires, so
 * references cannot accept all of them.
 */
export type GceFirmware =
  | { readonly measurements: readonly DigestText<'sha384'>[] }
  | { readonly endorsedSince: string };

/** Confidential VMs of GCE that are accepted. Of a processor that is absent, none. */
export interface GcpReference {
  readonly snp?: { readonly firmware: GceFirmware; readonly floors: SnpFloors } & SnpPins;
  readonly tdx?: { readonly firmware: GceFirmware } & TdxPins;
}

/** An enclave image that is accepted, by the hypervisor's measurements of it. */
export interface NitroReference {
  /** The whole image; kernel and boot ramdisk; application. */
  readonly pcr0: DigestText<'sha384'>;
  readonly pcr1: DigestText<'sha384'>;
  readonly pcr2: DigestText<'sha384'>;
}

/** Reference values of clouds. A section that is absent accepts none. */
export interface CloudReferences {
  readonly azureSnp?: AzureSnpReference;
  readonly azureTdx?: AzureTdxReference;
  readonly gcp?: GcpReference;
  readonly nitro?: readonly NitroReference[];
}

const measurements = z.array(sha384Text).max(256);
const identity = z.string().regex(/^[0-9a-f]{32}$/);
const firmware: z.ZodType<GceFirmware> = z.union([
  z.strictObject({ measurements }),
  z.strictObject({ endorsedSince: z.iso.datetime({ precision: 3 }) }),
]);

const snpFirmware = z.strictObject({ firmware, floors: floorsSchema, ...snpPins });

/** The shape of each section. */
export const cloudSections: { readonly [S in keyof CloudReferences]-?: z.ZodType<NonNullable<CloudReferences[S]>> } = {
  azureSnp: z.strictObject({
    measurements,
    signers: z
      .array(
        z.strictObject({
          idKey: sha384Text,
          familyId: identity,
          imageId: identity,
          minimumSvn: z.int().min(0).max(0xffff_ffff),
        }),
      )
      .max(64),
    floors: floorsSchema,
    ...snpPins,
  }),
  azureTdx: z.strictObject({ measurements, ...tdxPins }),
  gcp: z.strictObject({
    snp: snpFirmware.exactOptional(),
    tdx: z.strictObject({ firmware, ...tdxPins }).exactOptional(),
  }),
  nitro: z.array(z.strictObject({ pcr0: sha384Text, pcr1: sha384Text, pcr2: sha384Text })).max(64),
};

const cloudSchema: z.ZodType<CloudReferences> = z.strictObject({
  azureSnp: cloudSections.azureSnp.exactOptional(),
  azureTdx: cloudSections.azureTdx.exactOptional(),
  gcp: cloudSections.gcp.exactOptional(),
  nitro: cloudSections.nitro.exactOptional(),
});

const LIMIT = 1024 * 1024;

/**
 * Reads the sections by themselves (JSON, UTF-8), as `enclaim references` takes them.
 * @throws DecodeError
 */
export function parseCloudReferences(bytes: Uint8Array): CloudReferences {
  return decodeJson(cloudSchema, bytes, LIMIT);
}
