/** Where a peer refuses what ours accepts, or reads it otherwise, and ours is right: each with its reason and source. */

import { EV_NO_ACTION, parseEventLog } from '../../../attestation/src/tpm/index.ts';
import type { Trial, Verdict } from './trial.ts';

/** One known disagreement. A row that no case needs fails the whole run (`--long`). */
export interface Disagreement {
  readonly peer: string;
  readonly kind: string;
  /** Met among other people's vectors alone, which are not everywhere. */
  readonly vectors?: true;
  /** Which cases. It must not reach further than the reason does. */
  readonly holds: (trial: Trial, theirs: Verdict, ours: Verdict) => boolean;
  /** Why ours is right. */
  readonly reason: string;
  /** What says so. */
  readonly source: string;
}

const word =
  (name: string, value: string) =>
  ({ test }: Trial) =>
    test.words[name] === value;
const says =
  (pattern: RegExp) =>
  (_: Trial, { reason = '' }: Verdict) =>
    pattern.test(reason);

/** The table. */
export const DISAGREEMENTS: readonly Disagreement[] = [
  {
    peer: 'go',
    kind: 'snp',
    holds: (trial, theirs) =>
      word('product', 'Turin')(trial) && says(/not an AMD KDS OID: [0-9.]+\.3\.9$/)(trial, theirs),
    reason: "go-sev-guest 0.15.0 does not know the extension of Turin's FMC, and so no endorsement key of Turin",
    source: 'AMD 57230 revision 1.00, table of VCEK extensions: 1.3.6.1.4.1.3704.1.3.9 is FMC SPL',
  },
  {
    peer: 'go',
    kind: 'snp',
    holds: says(/unknown AMD SEV product: "[A-Z][a-z]+-[A-Z][0-9]"|unknown product name .*: "(?:Milan|Genoa|Turin)"$/),
    reason:
      'go-sev-guest refuses a VLEK whose product has a stepping and a VCEK whose product has none: ours holds the line ' +
      'to that of the issuer, and a stepping to what is demanded of it, which a name without one does not meet',
    source:
      'AMD 57230, tables of VCEK and VLEK extensions: productName is a text; the line is in the name of its issuer',
  },
  {
    peer: 'go',
    kind: 'tdx',
    holds: ({ test }, theirs, ours) =>
      Buffer.from(test.bytes.quote ?? []).readUInt16LE(0) === 5 &&
      says(/quote format not supported/)({ id: '', test }, theirs) &&
      ours.accept,
    reason: 'go-tdx-guest 0.3.1 reads quotes of version 4 alone',
    source: 'Intel TDX DCAP Quoting Library API, A.4: version 5 has a body of the type and size that it names',
  },
  {
    peer: 'go',
    kind: 'tdx',
    holds: says(/could not parse PEM formatted root certificate in/),
    reason:
      'go-tdx-guest takes two certificates in an order; ours finds the path to the pinned root among what is given',
    source: 'RFC 5280, 6.1: a path is what leads to the trust anchor; what else is beside it decides nothing',
  },
  {
    peer: 'go',
    kind: 'tdx',
    holds: says(/unexpected tcb status found/),
    reason: 'a word that is not known is in a level that this platform does not reach: only what needs it is refused',
    source: 'Intel PCS API version 4, tcbLevels: the level of a platform is the first that it reaches',
  },
  {
    peer: 'go',
    kind: 'tdx',
    holds: ({ test }, theirs) =>
      /TCB Status is not "UpToDate"/.test(theirs.reason ?? '') && !descending(test.bytes.tcbInfo ?? new Uint8Array()),
    reason: 'go-tdx-guest takes the first level in the order of the document; ours takes the highest that is reached',
    source: "Intel's quote verification library keeps levels in a set sorted downwards (TcbInfo.h, std::greater)",
  },
  {
    peer: 'dcap-qvl',
    kind: 'tdx-status',
    holds: says(/unknown variant `(?:|uptodate|Unknown|UpToDate )`/),
    reason: 'a word that is not known is in a level that this platform does not reach: only what needs it is refused',
    source: 'Intel PCS API version 4, tcbLevels: the level of a platform is the first that it reaches',
  },
  {
    peer: 'dcap-qvl',
    kind: 'tdx-status',
    // In a careful demand the status in force now is UpToDate, too.
    holds: (_, { reason = '' }, { value }) =>
      /Unrecognized TCB status .* in (?:TDX module identity|QE Identity)/.test(reason) &&
      (value !== 'UpToDate' || reason.startsWith('Failed to evaluate the current TDX TCB')),
    reason: 'Intel gives modules and quoting enclaves no such status; signed all the same, it is passed on by its name',
    source: 'Intel PCS API version 4, tcbStatus of modules and enclaves: no word of theirs is taken for UpToDate',
  },
  {
    peer: 'dcap-qvl',
    kind: 'tdx-status',
    holds: ({ test }, theirs, ours) =>
      /"tcbStatus":"[A-Za-z]*ConfigurationNeeded"/.test(Buffer.from(test.bytes.qeIdentity ?? []).toString()) &&
      theirs.accept &&
      ours.value !== theirs.value &&
      ours.value?.includes('Configuration') === true,
    reason: 'ours keeps what a quoting enclave needs, dcap-qvl drops it as Intel does: ours says more, never less',
    source: "Intel's quote verification library, convergeTcbStatusWithQeTcbStatus: only OutOfDate and Revoked count",
  },
  {
    peer: 'go',
    kind: 'quote',
    holds: says(/decoding PCRSelection: got 2 TPMS_PCR_SELECTION/),
    reason: 'go-tpm-tools reads one bank; TPMs list a bank beside it of which nothing is selected',
    source: 'TPM 2.0 Library Part 2, 10.9.7: TPML_PCR_SELECTION has a count of selections',
  },
  {
    peer: 'go',
    kind: 'tdx',
    vectors: true,
    holds: (_, { reason = '' }) => {
      const [, pck = '', info = ''] =
        /PCK Certificate\("([0-9a-f]+)"\) is not equal.*\("([0-9A-F]+)"\)$/.exec(reason) ?? [];
      return pck !== '' && pck === info.toLowerCase();
    },
    reason: 'go-tdx-guest 0.3.1 takes the letters of a number in hexadecimal for different ones by their case',
    source: 'Intel PCS API version 4: fmspc is a base 16-encoded string; its answers have capital letters',
  },
  {
    peer: 'go',
    kind: 'quote',
    vectors: true,
    holds: ({ test }, { reason = '' }) =>
      /only RSASSA \(PKCS#1 v1\.5\) is supported/.test(reason) && test.bytes.signature?.[1] === 0x16,
    reason: 'go-tpm-tools 0.4.7 verifies no RSASSA-PSS',
    source: 'TPM 2.0 Library Part 2, 11.3: TPM_ALG_RSAPSS is a scheme of attestation keys',
  },
  {
    peer: 'go',
    kind: 'event-log',
    vectors: true,
    holds: (trial, theirs) => word('bank', 'sha512')(trial) && says(/failed to replay/)(trial, theirs),
    reason: 'go-eventlog 0.0.2 replays the banks of SHA-1, SHA-256 and SHA-384 alone',
    source: 'TCG Algorithm Registry: TPM_ALG_SHA512 is 0x000d; the registers were replayed by tpm2_eventlog too',
  },
  {
    peer: 'go',
    kind: 'event-log',
    holds: says(/reached padding before event log EOF/),
    reason:
      'go-eventlog takes register 0xffffffff for filler; of an event that is never extended the register says nothing',
    source: 'TCG PC Client Platform Firmware Profile 1.05, 10.4.5: EV_NO_ACTION is not extended',
  },
  {
    peer: 'go',
    kind: 'event-log',
    holds: says(/invalid spec id signature/),
    reason: 'go-eventlog takes any EV_NO_ACTION of 28 bytes at the start for the header of a crypto-agile log',
    source: 'TCG PC Client Platform Firmware Profile 1.05, 10.4.5.1: the header is told by its signature',
  },
  {
    peer: 'go',
    kind: 'event-log',
    holds: ({ test }, theirs) =>
      /failed to replay: \[0\]/.test(theirs.reason ?? '') && lateLocality(test.bytes.log ?? new Uint8Array()),
    reason:
      'go-eventlog forgets a startup locality that stands late; register 0 began with it, wherever the log says so',
    source: 'TPM 2.0 Library Part 1, 17.5; the event itself is not measured, and a wrong one leads to another value',
  },
];

/** Whether an event log states the locality of startup behind the first extension of register 0. */
function lateLocality(log: Uint8Array): boolean {
  const events = parseEventLog(log).events.filter(({ register }) => register === 0);
  const states = events.findIndex(({ untrusted }) => Buffer.from(untrusted.data).includes('StartupLocality'));
  const extends0 = events.findIndex(({ untrusted }) => untrusted.type !== EV_NO_ACTION);
  return extends0 !== -1 && states > extends0;
}

/** Whether the levels of TCB info stand with the higher before the lower. */
function descending(tcbInfo: Uint8Array): boolean {
  const { tcbLevels } = JSON.parse(Buffer.from(tcbInfo).toString()) as {
    tcbLevels: { tcb: { tdxtcbcomponents: { svn: number }[]; sgxtcbcomponents: { svn: number }[] } }[];
  };
  const sums = tcbLevels.map(({ tcb }) =>
    [...tcb.tdxtcbcomponents, ...tcb.sgxtcbcomponents].reduce((sum, { svn }) => sum + svn, 0),
  );
  return sums.every((sum, index) => index === 0 || sum <= (sums[index - 1] ?? 0));
}
