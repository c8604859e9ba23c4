/** A trust domain after a direct boot: registers, the firmware's event log, and a kernel that lets the guest extend RTMR3. */

import { concat, utf8 } from '../../attestation/src/bytes.ts';
import { type DigestText, digestText, parseDigest, sha384 } from '../../attestation/src/digest.ts';
import { commandLineEvent, variableEvent } from '../../attestation/src/measure/tdx-events.ts';
import type { RtmrEventReference } from '../../attestation/src/references/references.ts';
import type { TdxMeasurements } from '../../guest/src/platform/tsm.ts';
import type { TsmReport } from '../../guest/src/tsm/index.ts';
import { agileLog, type Entry } from './event-log.ts';
import type { FakeQuotingEnclave, FakeTd, QuoteTamper } from './quoting-enclave.ts';

/** TCG PC Client Platform Firmware Profile, 10.4.1. */
const EV = {
  separator: 4,
  eventTag: 6,
  variable: 0x8000_0001,
  image: 0x8000_0003,
  action: 0x8000_0007,
  handoff: 0x8000_000b,
};
const GLOBAL_VARIABLE = '8be4df61-93ca-11d2-aa0d-00e098032b8c';

/** An event with its name, in a log's numbering of registers. */
type Measured = Entry & { readonly name: string };

const measured = (rtmr: number, type: number, name: string, data: Uint8Array, digest?: Uint8Array): Measured => ({
  register: rtmr + 1,
  type,
  name,
  data,
  banks: ['sha384'],
  ...(digest === undefined ? {} : { digest }),
});

/** What firmware and kernel measure; a digest that is given is not of the data, as for images and tables. */
export function bootEvents(commandLine: string, initrd: DigestText<'sha384'>): readonly Measured[] {
  const separator = (rtmr: number): Measured => measured(rtmr, EV.separator, 'separator', new Uint8Array(4));
  return [
    measured(0, EV.handoff, 'TD HOB', utf8('TdxTable'), sha384(utf8('hob'))),
    measured(0, EV.variable, 'SecureBoot', variableEvent(GLOBAL_VARIABLE, 'SecureBoot', Uint8Array.of(0))),
    separator(0),
    measured(0, EV.handoff, 'ACPI tables', utf8('etc/acpi/tables'), sha384(utf8('acpi'))),
    measured(1, EV.image, 'kernel', utf8('an address'), sha384(utf8('authenticode'))),
    separator(1),
    measured(1, EV.action, 'exit', utf8('Exit Boot Services Invocation')),
    measured(2, EV.eventTag, 'command line', commandLineEvent(commandLine)),
    measured(2, EV.eventTag, 'initrd', utf8('Linux initrd'), parseDigest('sha384', initrd)),
  ];
}

/** The references of one register's events. */
export function eventReferences(events: readonly Measured[], rtmr: number): RtmrEventReference[] {
  return events
    .filter(({ register }) => register === rtmr + 1)
    .map(({ name, data, digest }) => ({ name, digest: digestText('sha384', digest ?? sha384(data)) }));
}

/** What may differ from an honest domain. */
export interface DomainOptions {
  readonly mrTd: Uint8Array;
  readonly events: readonly Measured[];
  /** What the log says, where it is not what was measured; null where the firmware has none. */
  readonly logged?: readonly Entry[] | null;
  /** A kernel that cannot extend RTMR3. */
  readonly old?: boolean;
  /** Fields of every quote, and what is wrong with it. */
  readonly fields?: () => FakeTd;
  readonly tamper?: () => QuoteTamper;
}

export class FakeTrustDomain {
  readonly rtmrs: Uint8Array[] = Array.from({ length: 4 }, () => new Uint8Array(48));
  readonly measurements: TdxMeasurements;
  readonly #enclave: FakeQuotingEnclave;
  readonly #options: DomainOptions;

  constructor(enclave: FakeQuotingEnclave, options: DomainOptions) {
    this.#enclave = enclave;
    this.#options = options;
    for (const { register, data, digest } of options.events) this.extend(register - 1, digest ?? sha384(data));
    this.measurements = {
      rtmr3: options.old ? null : { extend: async (digest) => this.extend(3, digest) },
      ownReport: async () => this.tdReport(),
      eventLogArea: async () => (options.logged === null ? null : area(options.logged ?? options.events)),
    };
  }

  extend(rtmr: number, digest: Uint8Array): void {
    this.rtmrs[rtmr] = sha384(concat(this.rtmrs[rtmr] ?? new Uint8Array(), digest));
  }

  /** TDREPORT_STRUCT, as far as a guest reads its own. */
  tdReport(): Uint8Array {
    const { mrTd, fields } = this.#options;
    const report = new Uint8Array(1024);
    report.set([0x81]);
    const { mrConfigId = new Uint8Array(48) } = fields?.() ?? {};
    report.set(concat(mrTd, mrConfigId, new Uint8Array(96), ...this.rtmrs), 512 + 16);
    return report;
  }

  /** The answer of configfs-tsm, padded as hosts do. */
  report(reportData: Uint8Array): TsmReport {
    const { mrTd, fields, tamper } = this.#options;
    const quote = this.#enclave.quote({ mrTd, rtmrs: this.rtmrs, reportData, ...fields?.() }, tamper?.());
    return { provider: 'tdx_guest', outblob: concat(quote, new Uint8Array(512)), auxblob: new Uint8Array() };
  }
}

/** As ACPI's CCEL describes it: filled up with ones. */
function area(events: readonly Entry[]): Uint8Array {
  return concat(agileLog(...events), new Uint8Array(4096).fill(0xff));
}
