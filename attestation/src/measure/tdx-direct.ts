/**
 * MRTD and RTMR0 of a TDX guest that QEMU boots directly, from the firmware and the machine's size
 * (hw/i386/tdx.c, TDVF design guide).
 */

import { equalBytes, utf8 } from '../bytes.ts';
import { sha384 } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { qemuAcpiBlobs } from './acpi.ts';
import { parseFirmware } from './ovmf.ts';
import { qemuTdHob, type TdvfRegion } from './td-hob.ts';
import { cfvDigest, mrtdOf, parseTdvf } from './tdvf.ts';
import { directFwCfgEvents, menuOptions, rtmr0Events, secureBootEvents, uiAppOption } from './tdx-events.ts';
import { secureBootVariables } from './variable-store.ts';

/**
 * The first stable release of edk2 that measures as a build does. Releases between two editions are
 * not told apart.
 */
export type TdvfEdition = '202502' | '202505';

/**
 * The parts of a firmware image that the registers need; small enough to travel as a reference
 * value. Digests are SHA-384.
 */
export interface TdxFirmware {
  readonly mrtd: Uint8Array;
  readonly cfv: Uint8Array;
  readonly edition: TdvfEdition;
  /**
   * Events of the configuration volume. If it has no keys, the digest of the event that says that
   * Secure Boot is off is not known.
   */
  readonly secureBoot: readonly ExpectedEvent[];
  /** The memory that the firmware has accepted for itself. */
  readonly regions: readonly TdvfRegion[];
}

/** The machine, as far as RTMR0 measures it. */
export interface TdxMachine {
  /** Bytes. */
  readonly memory: number;
  /** QEMU's file `etc/acpi/tables`, or null if it is not at hand. */
  readonly acpiTables: Uint8Array | null;
}

/** An event of a register. `digest` is null if only the event's place is known. */
export interface ExpectedEvent {
  readonly name: string;
  readonly digest: Uint8Array | null;
}

/**
 * Describes a firmware image for {@link directRtmr0Events}.
 * @throws DecodeError if it is not one for TDX.
 */
export async function describeTdxFirmware(bytes: Uint8Array): Promise<TdxFirmware> {
  const firmware = parseFirmware(bytes);
  const sections = parseTdvf(firmware);
  const volume = sections.find(({ kind }) => kind === 'cfv');
  if (volume === undefined) throw new DecodeError('syntax', 'firmware has no configuration volume', 0);
  const { dataOffset, rawSize } = volume;
  const variables = secureBootVariables(bytes.subarray(dataOffset, dataOffset + rawSize));
  return {
    mrtd: await mrtdOf(firmware),
    cfv: await cfvDigest(firmware),
    edition: measuresFwCfg(bytes) ? '202505' : '202502',
    secureBoot: secureBootEvents(variables).map(({ name, digest }, index) => ({
      name,
      digest: index === 0 && variables.PK.length === 0 ? null : digest,
    })),
    regions: sections
      .filter(({ kind }) => kind === 'tdHob' || kind === 'tempMem')
      .map(({ kind, gpa, size }) => ({ kind, gpa, size })),
  };
}

/**
 * The events of RTMR0, in order. Without the ACPI tables, which follow from every device of the
 * machine, their three events have no digest. The event of the SMBIOS tables has none either, if a
 * build measures them.
 * @throws DecodeError for tables that are not as QEMU writes them; AppraisalError `references` for
 * impossible memory
 */
export function directRtmr0Events(
  { cfv, edition, secureBoot, regions }: TdxFirmware,
  { memory, acpiTables }: TdxMachine,
): ExpectedEvent[] {
  const blobs = acpiTables === null ? null : { ...qemuAcpiBlobs(acpiTables), tables: acpiTables };
  const unknown = new Uint8Array();
  const events = rtmr0Events({
    tdHob: sha384(qemuTdHob(regions, memory)),
    cfv,
    secureBoot: secureBoot.map(({ name, digest }) => ({ name, digest: digest ?? unknown })),
    acpi: {
      loader: blobs === null ? unknown : sha384(blobs.loader),
      rsdp: blobs === null ? unknown : sha384(blobs.rsdp),
      tables: blobs === null ? unknown : sha384(blobs.tables),
    },
    ...(edition === '202502'
      ? { bootOptions: options([uiAppOption()]) }
      : { fwCfg: directFwCfgEvents(), smbios: unknown, bootOptions: options(menuOptions()) }),
  });
  return events.map(({ name, digest }) => ({ name, digest: digest === unknown ? null : digest }));
}

/** Boot options as they stand in the boot order, from number 0. */
function options(all: readonly Uint8Array[]): { number: number; digest: Uint8Array }[] {
  return all.map((option, number) => ({ number, digest: sha384(option) }));
}

/**
 * The label of measured values of `fw_cfg`. It stands in the part of a firmware image that is not
 * compressed.
 */
const FW_CFG_LABEL = utf8('QEMU FW CFG\0');

function measuresFwCfg(bytes: Uint8Array): boolean {
  for (let at = bytes.indexOf(0x51); at >= 0; at = bytes.indexOf(0x51, at + 1))
    if (equalBytes(bytes.subarray(at, at + FW_CFG_LABEL.length), FW_CFG_LABEL)) return true;
  return false;
}
