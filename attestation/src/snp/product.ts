/**
 * Processors that make SEV-SNP reports, and the security version numbers (TCB) that each kind
 * reports.
 */

import { DecodeError } from '../errors.ts';

/** AMD product lines, as they are named in certificates. */
export type SnpProduct = 'Milan' | 'Genoa' | 'Turin';

/** Family, model and stepping as CPUID function 1 tells them. */
export interface CpuId {
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
}

/**
 * Models of a family that belong to a product line (AMD 57230, VCEK product names). Bergamo and
 * Siena go with Genoa.
 */
const MODELS: readonly (readonly [family: number, first: number, last: number, product: SnpProduct])[] = [
  [0x19, 0x00, 0x0f, 'Milan'],
  [0x19, 0x10, 0x1f, 'Genoa'],
  [0x19, 0xa0, 0xaf, 'Genoa'],
  [0x1a, 0x00, 0x1f, 'Turin'],
];

/** The product line of a processor, or undefined if it is not known. */
export function productOf({ family, model }: CpuId): SnpProduct | undefined {
  return MODELS.find(([f, first, last]) => f === family && first <= model && model <= last)?.[3];
}

/** The EAX of CPUID function 1, without its type and reserved bits. */
export function cpuidEax({ family, model, stepping }: CpuId): number {
  const [base, extended] = family > 0xf ? [0xf, family - 0xf] : [family, 0];
  return ((extended << 20) | ((model >> 4) << 16) | (base << 8) | ((model & 0xf) << 4) | stepping) >>> 0;
}

/** Names of the security version numbers, each 0 to 255. `fmc` exists on Turin alone. */
export type TcbComponent = 'fmc' | 'bootloader' | 'tee' | 'snp' | 'microcode';
/** A TCB version taken apart. */
export type TcbVersion = Readonly<Partial<Record<TcbComponent, number>>>;

/**
 * Place of each number in the 64-bit TCB_VERSION, by byte, lowest first. All other bytes are
 * reserved (AMD 56860 table 3).
 */
const LAYOUTS: Readonly<Record<SnpProduct, Readonly<Partial<Record<TcbComponent, number>>>>> = {
  Milan: { bootloader: 0, tee: 1, snp: 6, microcode: 7 },
  Genoa: { bootloader: 0, tee: 1, snp: 6, microcode: 7 },
  Turin: { fmc: 0, bootloader: 1, tee: 2, snp: 3, microcode: 7 },
};

/** The components that a product's TCB_VERSION has. */
export const TCB_COMPONENTS: Readonly<Record<SnpProduct, readonly TcbComponent[]>> = {
  Milan: componentsOf('Milan'),
  Genoa: componentsOf('Genoa'),
  Turin: componentsOf('Turin'),
};

function componentsOf(product: SnpProduct): readonly TcbComponent[] {
  return Object.keys(LAYOUTS[product]) as TcbComponent[];
}

/**
 * Takes a TCB_VERSION apart.
 * @throws DecodeError `reserved` if a byte that this product does not use is set.
 */
export function tcbVersion(product: SnpProduct, value: bigint): TcbVersion {
  const version: Partial<Record<TcbComponent, number>> = {};
  let known = 0n;
  for (const [component, byte] of Object.entries(LAYOUTS[product]) as [TcbComponent, number][]) {
    version[component] = Number((value >> BigInt(8 * byte)) & 0xffn);
    known |= 0xffn << BigInt(8 * byte);
  }
  if (value & ~known) throw new DecodeError('reserved', `TCB version 0x${value.toString(16)} of ${product}`, 0);
  return version;
}

/**
 * The components of `version` that are below `floor`. A floor that names a component which the
 * version lacks is not met: floors are written for one product line.
 */
export function belowFloor(version: TcbVersion, floor: TcbVersion): TcbComponent[] {
  const components = Object.keys(floor) as TcbComponent[];
  return components.filter((component) => (version[component] ?? -1) < (floor[component] ?? Number.POSITIVE_INFINITY));
}
