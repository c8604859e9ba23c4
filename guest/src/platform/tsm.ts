/**
 * SEV-SNP and TDX platforms: the processor measured the launch, and the guest checks what it knows
 * of its own report.
 */

import { equalBytes, toBase64, toHex, utf8 } from '@enclaim/attestation/bytes';
import { parseDigest, sha256, sha384 } from '@enclaim/attestation/digest';
import { DecodeError, EvidenceError } from '@enclaim/attestation/errors';
import { labelBytes } from '@enclaim/attestation/labels';
import { policyEvents, rtmr3Records, rtmrOf } from '@enclaim/attestation/measure';
import { parseReport } from '@enclaim/attestation/snp';
import { parseTdReport, type TdMeasurements, tdxEventLog } from '@enclaim/attestation/tdx';
import type { QuoteAnswer } from '@enclaim/runtime/control';
import { Refusal } from '../refusal.ts';
import { type TsmDevice, TsmError, type TsmReport } from '../tsm/report.ts';
import type { GuestPlatform, Measured } from './platform.ts';

/**
 * Measurements of a TD beside its reports. Null means that this kernel or firmware does not have
 * it.
 */
export interface TdxMeasurements {
  /** RTMR3 if the kernel lets the guest extend it, by 48 bytes. Linux does from 6.16 on. */
  readonly rtmr3: { extend(digest: Uint8Array): Promise<void> } | null;
  /**
   * TDREPORT. **Trust**: a quote says the same, but comes back from the host, which could give
   * another guest's quote.
   */
  ownReport(): Promise<Uint8Array>;
  /** The area of the firmware's event log. **Trust**: none; the verifier replays it. */
  eventLogArea(): Promise<Uint8Array | null>;
}

/** Drivers by platform. */
const DRIVERS: Readonly<Record<string, 'snp' | 'tdx'>> = { sev_guest: 'snp', tdx_guest: 'tdx' };

/**
 * The platform behind a device.
 * @param text the command line that this kernel was started with
 * @throws TsmError `unavailable` if the driver is not one of ours
 */
export async function openTsmPlatform(
  device: TsmDevice,
  measurements: TdxMeasurements,
  text: string,
): Promise<GuestPlatform> {
  const { provider } = await device.report(new Uint8Array(64));
  const kind = DRIVERS[provider];
  if (kind === undefined) {
    throw new TsmError('unavailable', `reports by ${provider}, expected ${Object.keys(DRIVERS).join(' or ')}`);
  }
  return kind === 'snp' ? snpPlatform(device, text) : tdxPlatform(device, measurements, text);
}

/**
 * OVMF's addition to the command line of a kernel that it boots with an initrd, after it checked
 * the line's hash: in front in builds of 2026, behind in older ones.
 */
const ADDED = /^initrd=initrd | initrd=initrd$/;

function snpPlatform(device: TsmDevice, text: string): GuestPlatform {
  return {
    ...reporting(device, 'snp'),
    kind: 'snp',
    commandLine: text.replace(ADDED, ''),
    measure: async ({ policy }) => {
      const { hostData } = own('report', parseReport, (await device.report(new Uint8Array(64))).outblob);
      holdField('HOST_DATA', hostData, sha256(policy));
    },
    hardware: () => ({ kind: 'snp' }),
    refuse: async () => {}, // nothing can be measured after the launch
  };
}

function tdxPlatform(device: TsmDevice, measurements: TdxMeasurements, text: string): GuestPlatform {
  const { rtmr3, eventLogArea } = measurements;
  let eventLog: Uint8Array | null = null;
  const ownReport = async (): Promise<TdMeasurements> => own('TDREPORT', parseTdReport, await measurements.ownReport());
  return {
    ...reporting(device, 'tdx'),
    kind: 'tdx',
    commandLine: text,
    measure: async ({ policyDigest, digest }: Measured) => {
      holdField('MRCONFIGID', (await ownReport()).mrConfigId, parseDigest('sha384', policyDigest));
      const records = rtmr3 === null ? [] : rtmr3Records(policyDigest, digest);
      for (const record of records) await rtmr3?.extend(sha384(record));
      const report = await ownReport();
      const [, , , found] = report.rtmrs;
      const expected = rtmrOf(rtmr3 === null ? [] : policyEvents(policyDigest, digest));
      if (!equalBytes(found, expected)) {
        throw new Refusal(
          'platform',
          `RTMR3 is ${toHex(found)}, expected ${toHex(expected)}: something else extended it`,
        );
      }
      eventLog = logOf(await eventLogArea(), records, report);
    },
    hardware: () => ({ kind: 'tdx', eventLog: eventLog === null ? null : toBase64(eventLog) }),
    refuse: async (reason) => rtmr3?.extend(sha384(Buffer.concat([labelBytes('refused'), utf8(reason)]))),
  };
}

function reporting(device: TsmDevice, kind: 'snp' | 'tdx'): Pick<GuestPlatform, 'quote' | 'activate'> {
  return {
    quote: async (data) => answer(kind, await device.report(data)),
    activate: () => Promise.reject(new TsmError('unavailable', `${kind} has no key to activate`)),
  };
}

function answer(kind: 'snp' | 'tdx', { outblob, auxblob }: TsmReport): QuoteAnswer {
  return { kind, outblob: toBase64(outblob), auxblob: toBase64(auxblob) };
}

/**
 * Refuses a field that is set but is not the policy's digest. A host may have set it to that digest
 * at launch.
 */
function holdField(name: string, found: Uint8Array, policy: Uint8Array): void {
  if (found.every((byte) => byte === 0) || equalBytes(found, policy)) return;
  throw new Refusal('policy', `${name} names ${toHex(found)}, the bundle's policy is ${toHex(policy)}`);
}

/**
 * The firmware's event log followed by our records; null if it does not lead to the registers in
 * the TDREPORT. References with an open event refuse evidence without a log.
 */
function logOf(area: Uint8Array | null, records: readonly Uint8Array[], report: TdMeasurements): Uint8Array | null {
  try {
    return area === null ? null : tdxEventLog(area, records, report);
  } catch (error) {
    if (error instanceof DecodeError || error instanceof EvidenceError) return null;
    throw error;
  }
}

function own<T>(what: string, parse: (bytes: Uint8Array) => T, bytes: Uint8Array): T {
  try {
    return parse(bytes);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new TsmError('unavailable', `this guest's own ${what} does not parse: ${cause.message}`, { cause });
  }
}
