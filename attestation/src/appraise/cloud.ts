/**
 * Appraisal of clouds' evidence: who stands between processor and VM, and what the VM or enclave
 * started.
 */

import { equalBytes, toHex } from '../bytes.ts';
import { parseDigest } from '../digest.ts';
import type { AzureAuthenticated, GcpAuthenticated, Silicon } from '../evidence/authenticated.ts';
import type { Moment } from '../moment.ts';
import { type AuthenticatedNitro, appraiseNitro } from '../nitro/index.ts';
import type { AzureSnpReference, GceFirmware, NitroReference } from '../references/cloud.ts';
import type { References } from '../references/references.ts';
import { pinnedReport, type SnpPins } from '../references/snp-pins.ts';
import type { SnpFloors } from '../references/tcb-floors.ts';
import { pinnedDemands, type TdxPins } from '../references/tdx-pins.ts';
import { type AuthenticatedSnp, appraiseSnp, SNP_CAREFUL } from '../snp/index.ts';
import type { BootStatement } from '../statement.ts';
import { type AuthenticatedTdx, appraiseTdx, type TdxDemands } from '../tdx/index.ts';
import { type Check, compared, notRun } from '../verdict/verdict.ts';
import { appraiseRegisters, type Images } from './registers.ts';

/** Characters of the host's words that a verdict repeats. */
const MAX_SHOWN_CHARS = 1024;

/**
 * Paravisor, processor and registers.
 *
 * **Trust**: everything else rests on the paravisor. A host that launches another in its place
 * names whatever vTPM key it likes, so references cannot accept any paravisor.
 */
export function appraiseAzure(
  { silicon, vtpm, runtime }: AzureAuthenticated,
  references: Images & Pick<References, 'azureSnp' | 'azureTdx'>,
  statement: Pick<BootStatement, 'bundle'>,
  moment: Moment,
): Check[] {
  return [
    appraiseParavisor(silicon, references),
    ...appraiseSilicon(silicon, { snp: references.azureSnp, tdx: references.azureTdx }, PARAVISED, moment),
    notRun(
      'azure.vm',
      `not compared: the host's words to the paravisor, ${JSON.stringify(runtime.vmConfiguration).slice(0, MAX_SHOWN_CHARS)}`,
    ),
    ...appraiseRegisters(vtpm, statement, references, ['disk']),
  ];
}

function appraiseParavisor(silicon: Silicon, { azureSnp, azureTdx }: Pick<References, 'azureSnp' | 'azureTdx'>): Check {
  const measurement = measurementOf(silicon);
  const accepted = (silicon.kind === 'snp' ? azureSnp : azureTdx)?.measurements ?? [];
  const known = accepted.some((digest) => equalBytes(parseDigest('sha384', digest), measurement));
  if (known) return compared('azure.paravisor', true, `${toHex(measurement)}, named by the references`);
  if (silicon.kind === 'snp' && isSigned(silicon.snp, azureSnp)) {
    return compared('azure.paravisor', true, `${describeSignature(silicon.snp)}, as the references accept`);
  }
  const found = silicon.kind === 'snp' ? ` ${describeSignature(silicon.snp)},` : '';
  return compared('azure.paravisor', false, `${toHex(measurement)},${found} is none that the references name`);
}

function isSigned({ report }: AuthenticatedSnp, reference: AzureSnpReference | undefined): boolean {
  // Every guest without a signed ID block has this digest: no reference can mean all of them.
  if (report.idKeyDigest.every((byte) => byte === 0)) return false;
  return (reference?.signers ?? []).some(
    ({ idKey, familyId, imageId, minimumSvn }) =>
      equalBytes(parseDigest('sha384', idKey), report.idKeyDigest) &&
      familyId === toHex(report.familyId) &&
      imageId === toHex(report.imageId) &&
      report.guestSvn >= minimumSvn,
  );
}

function describeSignature({ report }: AuthenticatedSnp): string {
  const { idKeyDigest, familyId, imageId, guestSvn } = report;
  return `family ${toHex(familyId)} image ${toHex(imageId)} version ${guestSvn} signed by ${toHex(idKeyDigest)}`;
}

/** Firmware, processor and registers. */
export function appraiseGcp(
  { silicon, vtpm, endorsement }: GcpAuthenticated,
  references: Images & Pick<References, 'gcp'>,
  statement: Pick<BootStatement, 'bundle'>,
  moment: Moment,
): Check[] {
  const reference = references.gcp?.[silicon.kind];
  const registers = appraiseRegisters(vtpm, statement, references, ['disk']);
  return [
    appraiseFirmware(silicon, endorsement, reference?.firmware),
    ...appraiseSilicon(silicon, references.gcp ?? {}, {}, moment),
    notRun('gcp.revocation', 'not looked up: the list of revoked certificates of attestation keys'),
    // Google's hypervisor keeps these registers: a processor's signature does not reach them.
    ...registers.map((check): Check => (check.outcome === 'passed' ? { ...check, strength: 'asserted' } : check)),
  ];
}

function appraiseFirmware(
  silicon: Silicon,
  endorsement: GcpAuthenticated['endorsement'],
  firmware: GceFirmware | undefined,
): Check {
  const measurement = measurementOf(silicon);
  const check = (ok: boolean, why: string): Check => compared('gcp.firmware', ok, `${toHex(measurement)} ${why}`);
  if (firmware === undefined) return check(false, `of a processor that the references name no firmware for`);
  if ('measurements' in firmware) {
    const known = firmware.measurements.some((digest) => equalBytes(parseDigest('sha384', digest), measurement));
    return check(known, known ? 'is named by the references' : 'is none that the references name');
  }
  if (endorsement === null) return check(false, 'without an endorsement by Google');
  const { golden } = endorsement;
  const endorsed = silicon.kind === 'snp' ? [...(golden.snp?.measurements.values() ?? [])] : mrTdsOf(golden.tdx);
  if (!endorsed.some((digest) => equalBytes(digest, measurement))) return check(false, 'is not the one endorsed');
  const at = Number(golden.timestamp.seconds) * 1000;
  const when = Number.isFinite(at) && Math.abs(at) <= 8.64e15 ? new Date(at).toISOString() : 'at no time';
  const recent = at >= Date.parse(firmware.endorsedSince);
  const asked = recent ? '' : `, before ${firmware.endorsedSince}`;
  return { ...check(recent, `endorsed by Google ${when}${asked}`), ...(recent ? { strength: 'asserted' } : {}) };
}

function mrTdsOf(tdx: NonNullable<GcpAuthenticated['endorsement']>['golden']['tdx']): readonly Uint8Array[] {
  return tdx?.measurements.map(({ mrTd }) => mrTd) ?? [];
}

/** An enclave's image, and that its console is closed. */
export function appraiseEnclave(nitro: AuthenticatedNitro, references: readonly NitroReference[]): Check[] {
  const { pcrs } = nitro.document;
  const held = references.map((reference) =>
    ([0, 1, 2] as const).map((index) => {
      const expected = parseDigest('sha384', reference[`pcr${index}`]);
      const found = pcrs.get(index) ?? new Uint8Array();
      const equal = equalBytes(found, expected);
      return compared(`nitro.pcr${index}`, equal, `${toHex(found)}${equal ? '' : `, expected ${toHex(expected)}`}`);
    }),
  );
  const [first, ...others] = held;
  if (first === undefined) return [compared('image', false, 'the references name no enclave image')];
  const equalOf = (checks: readonly Check[]): number => checks.filter(({ outcome }) => outcome === 'passed').length;
  const best = others.reduce((a, b) => (equalOf(b) > equalOf(a) ? b : a), first);
  const rest = [...pcrs.keys()].filter((index) => index > 2 && index !== 16 && index !== 17).toSorted((a, b) => a - b);
  return [
    ...best,
    ...appraiseNitro(nitro, NITRO_DEBUG).filter(({ id }) => id === 'nitro.debug'),
    ...rest.map((index) => notRun(`nitro.pcr${index}`, `not compared: ${toHex(pcrs.get(index) ?? new Uint8Array())}`)),
  ];
}

const NITRO_DEBUG = { pcrs: new Map(), nonce: 'any', userData: 'any', publicKey: 'any', debug: 'refused' } as const;

function measurementOf(silicon: Silicon): Uint8Array {
  return silicon.kind === 'snp' ? silicon.snp.report.measurement : silicon.tdx.quote.report.mrTd;
}

/**
 * Demands that a TD under Azure's paravisor cannot meet: it has #VE on, because the paravisor
 * handles that exception itself. The exception must only not reach an operating system that does
 * not expect it.
 */
const PARAVISED: Partial<TdxDemands> = { septVeDisable: 'any' };

/** Pins and floors that an SEV-SNP report is compared with. */
type SnpHeld = SnpPins & { readonly floors: SnpFloors };

/**
 * Demands of a careful verifier on the processor, without those that the cloud's own checks
 * compare.
 */
function appraiseSilicon(
  silicon: Silicon,
  { snp, tdx }: { readonly snp?: SnpHeld | undefined; readonly tdx?: TdxPins | undefined },
  relaxed: Partial<TdxDemands>,
  moment: Moment,
): Check[] {
  if (silicon.kind === 'snp') return appraiseReport(silicon.snp, snp ?? { floors: {} });
  return appraiseTd(silicon.tdx, { ...pinnedDemands(silicon.tdx, tdx ?? {}, moment), ...relaxed });
}

/** Without floors, no product is above them. */
function appraiseReport(snp: AuthenticatedSnp, { floors, ...pins }: SnpHeld): Check[] {
  const all = { reported: floors, committed: floors, current: floors, launch: floors };
  const demands = { ...SNP_CAREFUL, ...pinnedReport(pins), measurements: 'any', floors: all } as const;
  return appraiseSnp(snp, demands).filter(({ id }) => id !== 'snp.measurement' && id !== 'snp.report-data');
}

/**
 * Checks of the TD without its registers: these are the paravisor's, or those of firmware whose
 * guest a vTPM's registers describe.
 */
function appraiseTd(tdx: AuthenticatedTdx, careful: TdxDemands): Check[] {
  const demands: TdxDemands = { ...careful, mrTds: 'any', rtmrs: ['any', 'any', 'any', 'any'] };
  return appraiseTdx(tdx, demands).filter(({ id }) => id !== 'tdx.mrtd' && id !== 'tdx.report-data');
}
