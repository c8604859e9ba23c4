/** TDX measurements: MRTD and RTMRs from what is launched, and CCEL replay against signed quotes. */

import { fromHex, Reader, toHex } from '../../../attestation/src/bytes.ts';
import { sha384 } from '../../../attestation/src/digest.ts';
import { EvidenceError } from '../../../attestation/src/errors.ts';
import { qemuAcpiBlobs } from '../../../attestation/src/measure/acpi.ts';
import { parseFirmware } from '../../../attestation/src/measure/ovmf.ts';
import { gceTdHob, qemuTdHob } from '../../../attestation/src/measure/td-hob.ts';
import { cfvDigest, mrtdOf, parseTdvf, type TdvfSection } from '../../../attestation/src/measure/tdvf.ts';
import {
  commandLineEvent,
  gceBootOptions,
  gcePlaceholderVariables,
  type RtmrEvent,
  rtmr0Events,
  rtmr1Events,
  rtmr2Events,
  rtmrOf,
  type SecureBootVariables,
  uiAppOption,
  variableEvent,
} from '../../../attestation/src/measure/tdx-events.ts';
import { parseQuote, quoteLength, type TdReport } from '../../../attestation/src/tdx/index.ts';
import {
  authenticateEventLog,
  type EventLog,
  eventLogLength,
  parseEventLog,
  replayEventLog,
} from '../../../attestation/src/tpm/event-log.ts';
import { type Case, compare, fileOf, type Outcome } from '../topic.ts';

export const topic = 'tdx-measure';

// biome-ignore lint/suspicious/noExplicitAny: each case has expectations of its own form
type Expected = any;

export async function run(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  if (test.files.ccel) return runCcel(test, dir, expected);
  if (expected.sha384_event_digests) return runEvents(expected);
  if (expected.sha384_by_ram_GiB) return runGceHob(test, dir, expected);
  if (test.files.components) return runGcePrediction(test, dir, expected);
  if (test.files.acpi_tables) return runQemuPrediction(test, dir, expected);
  if (expected.td_hob_sha384_by_memory_MiB) return runQemuHob(test, dir, expected);
  return runMrtd(test, dir, expected);
}

const KIND_NAMES = { bfv: [0, 'BFV'], cfv: [1, 'CFV'], tdHob: [2, 'TD_HOB'], tempMem: [3, 'TempMem'] } as const;

async function runMrtd(test: Case, dir: string, expected: Expected): Promise<Outcome> {
  const firmware = parseFirmware(await fileOf(test, 'tdvf', dir));
  return compare(expected, {
    mrtd: toHex(await mrtdOf(firmware)),
    mrtd_two_pass_variant: toHex(await mrtdOf(firmware, 'two-pass')),
    tdvf_sections: parseTdvf(firmware).map(({ kind, dataOffset, rawSize, gpa, size, attributes }) => {
      const [type, type_name] = KIND_NAMES[kind as keyof typeof KIND_NAMES];
      return {
        data_offset: dataOffset,
        raw_data_size: rawSize,
        memory_address: gpa,
        memory_data_size: size,
        type,
        type_name,
        attributes,
      };
    }),
    tdvf_metadata_offset_from_end: new Reader(firmware.structures.get(TDX_METADATA) ?? new Uint8Array()).u32le(),
    cfv_sha384: toHex(await cfvDigest(firmware)),
  });
}

const TDX_METADATA = 'e47a6535-984a-4798-865e-4685a7bf8ec2';
const MIB = 1 << 20;
const GIB = 1 << 30;

async function runQemuHob(test: Case, dir: string, expected: Expected): Promise<Outcome> {
  const sections = parseTdvf(parseFirmware(await fileOf(test, 'tdvf', dir)));
  const sizes = Object.keys(expected.td_hob_sha384_by_memory_MiB);
  const digests = sizes.map((size) => [size, toHex(sha384(qemuTdHob(sections, Number(size) * MIB)))]);
  return compare(expected.td_hob_sha384_by_memory_MiB, Object.fromEntries(digests));
}

/** The template is the machine's own HOB list: the regions in it, laid out again, must give it back. */
async function runGceHob(test: Case, dir: string, expected: Expected): Promise<Outcome> {
  const template = await fileOf(test, 'template', dir);
  const sections = regionsOf(template);
  const sizes = Object.keys(expected.sha384_by_ram_GiB);
  const digests = sizes.map((size) => [size, toHex(sha384(gceTdHob(sections, Number(size) * GIB)))]);
  return compare([expected.length, expected.sha384_by_ram_GiB], [template.length, Object.fromEntries(digests)]);
}

/** The accepted regions of a HOB list, as the sections of the firmware that asked for them. */
function regionsOf(hob: Uint8Array): TdvfSection[] {
  const reader = new Reader(hob);
  reader.skip(48);
  const end = Number(reader.u64le());
  const sections: TdvfSection[] = [];
  while (reader.left > 0) {
    reader.skip(24);
    const type = reader.u32le();
    reader.skip(4);
    const [gpa, size] = [Number(reader.u64le()), Number(reader.u64le())];
    // The list itself lies in the section that its end falls into.
    const kind = gpa <= end && end <= gpa + size ? 'tdHob' : 'tempMem';
    if (type === 0) sections.push({ kind, dataOffset: 0, rawSize: 0, gpa, size, attributes: 0 });
  }
  return sections;
}

const NO_VARIABLES: SecureBootVariables = {
  SecureBoot: new Uint8Array(),
  PK: new Uint8Array(),
  KEK: new Uint8Array(),
  db: new Uint8Array(),
  dbx: new Uint8Array(),
};
const VENDOR = {
  SecureBoot: '8be4df61-93ca-11d2-aa0d-00e098032b8c',
  PK: '8be4df61-93ca-11d2-aa0d-00e098032b8c',
  KEK: '8be4df61-93ca-11d2-aa0d-00e098032b8c',
  db: 'd719b2cb-3d3a-4596-a3bc-dad00e67656f',
  dbx: 'd719b2cb-3d3a-4596-a3bc-dad00e67656f',
} as const;

async function runEvents(expected: Expected): Promise<Outcome> {
  const placeholder = fromHex(expected.gcp_placeholder_signature_list);
  const digests = Object.keys(expected.sha384_event_digests).map((what) => {
    const name = /\b(SecureBoot|PK|KEK|dbx|db)\b/.exec(what)?.[1] as keyof typeof VENDOR;
    const data = what.includes('placeholder')
      ? placeholder
      : what.includes('data 00')
        ? Uint8Array.of(0)
        : new Uint8Array();
    return [what, toHex(sha384(variableEvent(VENDOR[name], name, data)))];
  });
  const lines = Object.keys(expected.cmdline_sha384_utf16le_nul).map((text) => [
    text,
    toHex(sha384(commandLineEvent(text))),
  ]);
  const { sha384_event_digests, cmdline_sha384_utf16le_nul } = expected;
  return compare(
    [sha384_event_digests, cmdline_sha384_utf16le_nul],
    [Object.fromEntries(digests), Object.fromEntries(lines)],
  );
}

async function runQemuPrediction(test: Case, dir: string, expected: Expected): Promise<Outcome> {
  const firmware = parseFirmware(await fileOf(test, 'tdvf', dir));
  const tables = await fileOf(test, 'acpi_tables', dir);
  const { loader, rsdp } = qemuAcpiBlobs(tables);
  const events = rtmr0Events({
    tdHob: sha384(qemuTdHob(parseTdvf(firmware), Number.parseInt(expected.memory, 10) * MIB)),
    cfv: await cfvDigest(firmware),
    secureBoot: NO_VARIABLES,
    acpi: { loader: sha384(loader), rsdp: sha384(rsdp), tables: sha384(tables) },
    bootOptions: [{ number: 0, digest: sha384(uiAppOption()) }],
  });
  return compare(expected, {
    mrtd: toHex(await mrtdOf(firmware)),
    rtmr0: toHex(rtmrOf(events)),
    acpi_tables_sha384: toHex(sha384(tables)),
    cpus: expected.cpus,
    memory: expected.memory,
  });
}

/** Everything but the digests of images and tables is made here; the registers must be those of the signed quote. */
async function runGcePrediction(test: Case, dir: string, expected: Expected): Promise<Outcome> {
  const components = JSON.parse(Buffer.from(await fileOf(test, 'components', dir)).toString());
  const yaml = Buffer.from(await fileOf(test, 'firmware', dir)).toString();
  const field = (name: string): string => new RegExp(`${name}: >-\\s+([0-9a-f]+)`).exec(yaml)?.[1] ?? '';
  const { image_hashes: image, acpi } = components;
  const events: Record<string, RtmrEvent[]> = {
    rtmr0: rtmr0Events({
      tdHob: sha384(gceTdHob(regionsOf(fromHex(field('bytes'))), components.ram_bytes)),
      cfv: fromHex(field('cfv')),
      secureBoot: gcePlaceholderVariables(),
      acpi: { loader: fromHex(acpi.loader), rsdp: fromHex(acpi.rsdp), tables: fromHex(acpi.tables) },
      bootOptions: gceBootOptions(),
    }),
    rtmr1: rtmr1Events({
      gpt: fromHex(image.gpt_disk_guid_hash),
      images: [
        { name: 'UKI authenticode', digest: fromHex(image.uki_authenticode) },
        { name: 'kernel authenticode', digest: fromHex(image.kernel_authenticode) },
      ],
    }),
    rtmr2: rtmr2Events({ commandLine: fromHex(image.cmdline_hash), initrd: fromHex(image.initrd_hash) }),
  };
  const report = await reportOf(test, dir);
  const names = ['rtmr0', 'rtmr1', 'rtmr2'] as const;
  const registers = names.map((name) => [name, toHex(rtmrOf(events[name] ?? []))]);
  const quoted = Object.fromEntries(names.map((name, index) => [name, toHex(report.rtmrs[index] ?? new Uint8Array())]));
  const shown = names.map((name) => [
    name,
    (events[name] ?? []).map((event) => ({ ...event, digest: toHex(event.digest) })),
  ]);
  const got = { mr_td: field('mrtd'), ...Object.fromEntries(registers), events: Object.fromEntries(shown) };
  const { rtmr0, rtmr1, rtmr2 } = expected;
  return compare([expected, { rtmr0, rtmr1, rtmr2 }, expected.mr_td], [got, quoted, toHex(report.mrTd)]);
}

async function reportOf(test: Case, dir: string): Promise<TdReport> {
  const file = await fileOf(test, 'quote', dir);
  return parseQuote(file.subarray(0, quoteLength(file))).report;
}

async function runCcel(test: Case, dir: string, expected: Expected): Promise<Outcome> {
  const { log, used } = readCcel(await fileOf(test, 'ccel', dir));
  const values = replayEventLog(log).get('sha384');
  const replayed = Object.fromEntries(
    [0, 1, 2].map((index) => [`rtmr${index}`, toHex(values?.get(index + 1) ?? new Uint8Array(48))]),
  );
  if (expected.result === undefined)
    return compare(expected, { log_bytes_used: used, event_count: log.events.length, replayed });
  const { rtmrs, reportData } = await reportOf(test, dir);
  const mismatch = firstMismatch(log, rtmrs);
  if (mismatch !== undefined) return compare(expected, { result: 'mismatch', register: mismatch });
  const quoted = rtmrs.map((rtmr, index) => [`rtmr${index}`, toHex(rtmr)] as const);
  const matches = quoted.slice(0, 3).map(([name, value]) => [name, replayed[name] === value]);
  const got = {
    log_bytes_used: used,
    event_count: log.events.length,
    replayed,
    quote_rtmrs: Object.fromEntries(quoted),
    matches: Object.fromEntries(matches),
    result: 'match',
  };
  const nonce = test.files.nonce ? toHex(await fileOf(test, 'nonce', dir)) : toHex(reportData);
  return compare([expected, nonce], [got, toHex(reportData)]);
}

/** The first register that the log does not lead to; in a CCEL, index 0 is MRTD and RTMRs start at 1. */
function firstMismatch(log: EventLog, rtmrs: TdReport['rtmrs']): string | undefined {
  for (const [index, rtmr] of rtmrs.entries()) {
    try {
      authenticateEventLog(log, 'sha384', [index + 1], new Map([[index + 1, rtmr]]));
    } catch (error) {
      if (error instanceof EvidenceError && error.code === 'log') return `rtmr${index}`;
      throw error;
    }
  }
  return undefined;
}

function readCcel(area: Uint8Array): { log: EventLog; used: number } {
  const used = eventLogLength(area);
  return { log: parseEventLog(area.subarray(0, used)), used };
}
