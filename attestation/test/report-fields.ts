/**
 * Every field of every report that hardware signs, and what judges it: `node attestation/test/report-fields.ts` prints
 * docs/reference/report-fields.md. report-fields.test.ts holds each row against the formats and against what the code does.
 */

/** What judges a field, or why nothing does. */
export type Judged =
  /** Checks that fail (`snp.vmpl`), and codes of refusals (`!signature`), of which a wrong value meets one. */
  { readonly by: readonly string[] } | { readonly reason: string };

/** A field at a place. */
export type Field = Judged & {
  /** As its maker names it. */
  readonly name: string;
  readonly at: number;
  readonly length: number;
  /** What the parser makes of it. */
  readonly parsed?: readonly string[];
  /** Single bits, where they mean different things; those that are not listed are one row. */
  readonly bits?: readonly Bit[];
};

/** A bit of a field, or several from `bit` to `last`. */
export type Bit = Judged & { readonly name: string; readonly bit: number; readonly last?: number };

/** A field of a structure without fixed places. */
export type Named = Judged & { readonly name: string };

/** A structure of fixed places. */
export interface Layout {
  readonly title: string;
  readonly source: string;
  readonly length: number;
  readonly fields: readonly Field[];
}

/** A structure without them. */
export interface Members {
  readonly title: string;
  readonly source: string;
  readonly fields: readonly Named[];
}

/** Lays fields one behind the other. */
function consecutive(
  fields: readonly (Judged & Pick<Field, 'name' | 'length' | 'parsed' | 'bits'>)[],
  from = 0,
): Field[] {
  let at = from;
  return fields.map((field) => {
    const placed = { ...field, at };
    at += field.length;
    return placed;
  });
}

const RESERVED = { name: 'reserved', by: ['!format'] } as const;
const INSTANCE = 'names this guest among the guests of a host; what it runs is in the measurement';

/** AMD's report. */
export const SNP_REPORT: Layout = {
  title: 'SEV-SNP ATTESTATION_REPORT',
  source: 'AMD 56860 revision 1.58, section 7.3, tables 10, 23 and 24; attestation/src/snp',
  length: 1184,
  fields: consecutive([
    { name: 'VERSION', length: 4, parsed: ['version'], by: ['snp.version', '!format'] },
    { name: 'GUEST_SVN', length: 4, parsed: ['guestSvn'], by: ['snp.guest-svn'] },
    {
      name: 'POLICY',
      length: 8,
      parsed: ['policy', 'policyBits'],
      by: ['!format'],
      bits: [
        { name: 'ABI_MINOR, ABI_MAJOR', bit: 0, last: 15, by: ['snp.abi'] },
        { name: 'SMT', bit: 16, by: ['snp.policy.smt'] },
        { name: 'one', bit: 17, by: ['!format'] },
        { name: 'MIGRATE_MA', bit: 18, by: ['snp.policy.migrationAgent'] },
        { name: 'DEBUG', bit: 19, by: ['snp.policy.debug'] },
        { name: 'SINGLE_SOCKET', bit: 20, by: ['snp.policy.singleSocket'] },
        { name: 'CXL_ALLOW', bit: 21, by: ['snp.policy.cxl'] },
        { name: 'MEM_AES_256_XTS', bit: 22, by: ['snp.policy.memoryAes256Xts'] },
        { name: 'RAPL_DIS', bit: 23, by: ['snp.policy.raplDisabled'] },
        { name: 'CIPHERTEXT_HIDING', bit: 24, by: ['snp.policy.ciphertextHiding'] },
        { name: 'PAGE_SWAP_DISABLE', bit: 25, by: ['snp.policy.pageSwapDisabled'] },
        { name: 'reserved', bit: 26, last: 63, by: ['!format'] },
      ],
    },
    { name: 'FAMILY_ID', length: 16, parsed: ['familyId'], by: ['snp.family-id'] },
    { name: 'IMAGE_ID', length: 16, parsed: ['imageId'], by: ['snp.image-id'] },
    { name: 'VMPL', length: 4, parsed: ['vmpl'], by: ['snp.vmpl', '!format'] },
    { name: 'SIGNATURE_ALGO', length: 4, parsed: ['signatureAlgorithm'], by: ['!signature'] },
    { name: 'CURRENT_TCB', length: 8, parsed: ['currentTcb'], by: ['snp.tcb.current', 'snp.provisional', '!format'] },
    {
      name: 'PLATFORM_INFO',
      length: 8,
      parsed: ['platform', 'platformBits'],
      by: ['snp.platform.known'],
      bits: [
        { name: 'SMT_EN', bit: 0, by: ['snp.platform.smt'] },
        { name: 'TSME_EN', bit: 1, by: ['snp.platform.tsme'] },
        { name: 'ECC_EN', bit: 2, by: ['snp.platform.ecc'] },
        { name: 'RAPL_DIS', bit: 3, by: ['snp.platform.raplDisabled'] },
        { name: 'CIPHERTEXT_HIDING_DRAM_EN', bit: 4, by: ['snp.platform.ciphertextHiding'] },
        { name: 'ALIAS_CHECK_COMPLETE', bit: 5, by: ['snp.platform.aliasCheck'] },
        { name: 'IOMMU write safe (Turin)', bit: 6, by: ['snp.platform.iommuWriteSafe'] },
        { name: 'TIO_EN', bit: 7, by: ['snp.platform.tio'] },
        { name: 'without a published name, bit 8 among them', bit: 8, last: 63, by: ['snp.platform.known'] },
      ],
    },
    {
      name: 'AUTHOR_KEY_EN, MASK_CHIP_KEY, SIGNING_KEY',
      length: 4,
      parsed: ['signerInfo', 'authorKeyEnabled', 'chipKeyMasked', 'signer'],
      by: ['!format'],
      bits: [
        {
          name: 'AUTHOR_KEY_EN',
          bit: 0,
          reason: 'says that the author key digest is set; the digest is compared itself',
        },
        {
          name: 'MASK_CHIP_KEY',
          bit: 1,
          reason:
            'says that the VCEK does not sign; who signed is shown by the signature, and a masked chip id fits no VCEK',
        },
        { name: 'SIGNING_KEY', bit: 2, last: 4, by: ['!identity', '!format'] },
        { name: 'reserved', bit: 5, last: 31, by: ['!format'] },
      ],
    },
    { ...RESERVED, length: 4 },
    { name: 'REPORT_DATA', length: 64, parsed: ['reportData'], by: ['snp.report-data'] },
    { name: 'MEASUREMENT', length: 48, parsed: ['measurement'], by: ['snp.measurement'] },
    { name: 'HOST_DATA', length: 32, parsed: ['hostData'], by: ['snp.host-data'] },
    { name: 'ID_KEY_DIGEST', length: 48, parsed: ['idKeyDigest'], by: ['snp.id-key'] },
    { name: 'AUTHOR_KEY_DIGEST', length: 48, parsed: ['authorKeyDigest'], by: ['snp.author-key'] },
    { name: 'REPORT_ID', length: 32, parsed: ['reportId'], reason: INSTANCE },
    {
      name: 'REPORT_ID_MA',
      length: 32,
      parsed: ['reportIdMigrationAgent'],
      reason: 'names a migration agent, which a guest has only where its policy allows one: snp.policy.migrationAgent',
    },
    { name: 'REPORTED_TCB', length: 8, parsed: ['reportedTcb'], by: ['!identity'] },
    { name: 'CPUID_FAM_ID, CPUID_MOD_ID', length: 2, parsed: ['cpu'], by: ['!identity'] },
    { name: 'CPUID_STEP', length: 1, by: ['snp.product'] },
    { ...RESERVED, length: 21 },
    { name: 'CHIP_ID', length: 64, parsed: ['chipId'], by: ['!identity'] },
    {
      name: 'COMMITTED_TCB',
      length: 8,
      parsed: ['committedTcb'],
      by: ['snp.tcb.committed', 'snp.provisional', '!format'],
    },
    { name: 'CURRENT_BUILD, CURRENT_MINOR, CURRENT_MAJOR', length: 3, parsed: ['current'], by: ['snp.provisional'] },
    { ...RESERVED, length: 1 },
    {
      name: 'COMMITTED_BUILD, COMMITTED_MINOR, COMMITTED_MAJOR',
      length: 3,
      parsed: ['committed'],
      by: ['snp.provisional'],
    },
    { ...RESERVED, length: 1 },
    { name: 'LAUNCH_TCB', length: 8, parsed: ['launchTcb'], by: ['snp.tcb.launch', '!format'] },
    { name: 'LAUNCH_MIT_VECTOR', length: 8, parsed: ['launchMitigations'], by: ['snp.mitigations.launch'] },
    { name: 'CURRENT_MIT_VECTOR', length: 8, parsed: ['currentMitigations'], by: ['snp.mitigations.current'] },
    { ...RESERVED, length: 152 },
    { name: 'SIGNATURE', length: 512, parsed: ['signature', 'signed'], by: ['!signature', '!format'] },
  ]),
};

const MEASURED = (name: string, parsed: string, check: string): Judged & Pick<Field, 'name' | 'length' | 'parsed'> => ({
  name,
  length: 48,
  parsed: [parsed],
  by: [check],
});

/** Intel's quote up to its signature, with the longest of the three bodies: each of the others is a beginning of it. */
export const TDX_QUOTE: Layout = {
  title: 'TDX quote version 5: header, and TD report 1.0 (to byte 638), 1.5 (to 702) and 1.5ex',
  source:
    'Intel TDX DCAP quoting library API 0.9, appendix A; TDX module ABI; confidential-computing.tee.dcap.qvl, ' +
    'QuoteStructures.h; Linux, asm/shared/tdx.h; attestation/src/tdx',
  length: 939,
  fields: consecutive([
    { name: 'Version', length: 2, by: ['!format'] },
    { name: 'Attestation Key Type', length: 2, by: ['!format'] },
    { name: 'TEE Type', length: 4, by: ['!format'] },
    { ...RESERVED, length: 4 },
    { name: 'QE Vendor ID', length: 16, by: ['!format'] },
    {
      name: 'User Data',
      length: 20,
      reason: "a name that the quoting enclave's host gives the platform; the PCK names it",
    },
    { name: 'Body Type', length: 2, by: ['!format'] },
    { name: 'Body Size', length: 4, by: ['!format'] },
    {
      name: 'TEE_TCB_SVN',
      length: 16,
      parsed: ['teeTcbSvn'],
      by: ['tdx.tcb', '!collateral', '!identity'],
    },
    { name: 'MRSEAM', length: 48, parsed: ['mrSeam'], by: ['tdx.mr-seam'] },
    { name: 'MRSIGNERSEAM', length: 48, parsed: ['mrSignerSeam'], by: ['!identity'] },
    { name: 'SEAMATTRIBUTES', length: 8, parsed: ['seamAttributes'], by: ['!identity'] },
    {
      name: 'TDATTRIBUTES',
      length: 8,
      parsed: ['tdAttributes'],
      by: ['tdx.attributes.known'],
      bits: [
        { name: 'DEBUG', bit: 0, by: ['tdx.attributes.debug'] },
        { name: 'TUD, and without a name', bit: 1, last: 26, by: ['tdx.attributes.known'] },
        { name: 'LASS', bit: 27, reason: 'gives the guest an instruction, and the host nothing' },
        { name: 'SEPT_VE_DISABLE', bit: 28, by: ['tdx.attributes.septVeDisable'] },
        { name: 'MIGRATABLE', bit: 29, by: ['tdx.attributes.migratable'] },
        { name: 'PKS', bit: 30, reason: 'gives the guest an instruction, and the host nothing' },
        { name: 'KL', bit: 31, reason: 'gives the guest an instruction, and the host nothing' },
        { name: 'without a name', bit: 32, last: 61, by: ['tdx.attributes.known'] },
        { name: 'TPA', bit: 62, by: ['tdx.attributes.tpa'] },
        { name: 'PERFMON', bit: 63, by: ['tdx.attributes.perfmon'] },
      ],
    },
    {
      name: 'XFAM',
      length: 8,
      parsed: ['xfam'],
      by: ['tdx.xfam'],
      bits: [
        { name: 'x87, SSE', bit: 0, last: 1, reason: 'are always on (TDX module ABI, XFAM)' },
        { name: 'other features', bit: 2, last: 63, by: ['tdx.xfam'] },
      ],
    },
    MEASURED('MRTD', 'mrTd', 'tdx.mrtd'),
    MEASURED('MRCONFIGID', 'mrConfigId', 'tdx.mr-config-id'),
    MEASURED('MROWNER', 'mrOwner', 'tdx.mr-owner'),
    MEASURED('MROWNERCONFIG', 'mrOwnerConfig', 'tdx.mr-owner-config'),
    MEASURED('RTMR0', 'rtmrs', 'tdx.rtmr0'),
    MEASURED('RTMR1', 'rtmrs', 'tdx.rtmr1'),
    MEASURED('RTMR2', 'rtmrs', 'tdx.rtmr2'),
    MEASURED('RTMR3', 'rtmrs', 'tdx.rtmr3'),
    { name: 'REPORTDATA', length: 64, parsed: ['reportData'], by: ['tdx.report-data'] },
    { name: 'TEE_TCB_SVN2', length: 16, parsed: ['teeTcbSvn2'], by: ['tdx.tcb.current'] },
    { name: 'MRSERVICETD', length: 48, parsed: ['mrServiceTd'], by: ['tdx.service-td'] },
    { name: 'VMID', length: 1, parsed: ['extension'], by: ['tdx.vm-id'] },
    { name: 'TDID', length: 32, reason: INSTANCE },
    { name: 'DEVINFO', length: 48, by: ['tdx.devices'] },
    { name: 'INIT_SERVTD_HASH', length: 48, by: ['tdx.service-td.initial'] },
    { name: 'INIT_SERVTD_ATTRIBUTES', length: 8, by: ['tdx.service-td.attributes'] },
    { name: 'INIT_CPUSVN', length: 16, by: ['tdx.migrated'] },
    { name: 'INIT_TEE_TCB_SVN', length: 16, by: ['tdx.migrated'] },
    { name: 'INIT_TEE_FMSPC', length: 12, by: ['tdx.migrated'] },
    { name: 'CUR_SERVTD_HASH', length: 48, by: ['tdx.service-td.current'] },
    { name: 'CUR_SERVTD_ATTRIBUTES', length: 8, by: ['tdx.service-td.attributes'] },
  ]),
};

const COVERED =
  "the PCK signs for Intel's own enclave alone, whose identity names signer, product, attributes and version";

/** The quoting enclave's report inside a quote. */
export const QE_REPORT: Layout = {
  title: "Report of TDX's quoting enclave",
  source: 'Intel SDM volume 3D, table 38-21; PCS API 4, enclave identity version 2; attestation/src/tdx/tcb.ts',
  length: 384,
  fields: consecutive([
    { name: 'CPUSVN', length: 16, parsed: ['cpuSvn'], reason: 'the PCK certificate names the TCB that its key is of' },
    { name: 'MISCSELECT', length: 4, parsed: ['miscSelect'], by: ['!identity'] },
    { name: 'reserved, ISVEXTPRODID', length: 28, reason: COVERED },
    {
      name: 'ATTRIBUTES',
      length: 8,
      parsed: ['attributes'],
      by: ['!identity'],
      bits: [
        { name: 'INIT, DEBUG', bit: 0, last: 1, by: ['!identity'] },
        { name: 'MODE64BIT', bit: 2, reason: "Intel's identity masks it out" },
        { name: 'other attributes', bit: 3, last: 63, by: ['!identity'] },
      ],
    },
    { name: 'XFRM', length: 8, reason: "Intel's identity masks it out" },
    { name: 'MRENCLAVE', length: 32, parsed: ['mrEnclave'], reason: COVERED },
    { name: 'reserved', length: 32, reason: COVERED },
    { name: 'MRSIGNER', length: 32, parsed: ['mrSigner'], by: ['!identity'] },
    { name: 'reserved, CONFIGID', length: 96, reason: COVERED },
    { name: 'ISVPRODID', length: 2, parsed: ['isvProdId'], by: ['!identity'] },
    { name: 'ISVSVN', length: 2, parsed: ['isvSvn'], by: ['tdx.tcb', '!collateral'] },
    { name: 'CONFIGSVN, reserved, ISVFAMILYID', length: 60, reason: COVERED },
    { name: 'REPORTDATA', length: 64, parsed: ['reportData', 'signed'], by: ['!binding'] },
  ]),
};

const BOOT_HISTORY =
  'the history of this TPM: a jump back between two quotes is another TPM, and a verdict has one quote; evidence shows it';

/** A TPM's quote. */
export const TPM_QUOTE: Members = {
  title: 'TPMS_ATTEST of a TPM: quotes',
  source: 'TCG TPM 2.0 Library, Part 2, 10.12; attestation/src/tpm/attest.ts',
  fields: [
    { name: 'magic', by: ['!magic'] },
    { name: 'type', by: ['!type', '!format'] },
    { name: 'qualifiedSigner', by: ['!key'] },
    { name: 'extraData', by: ['!nonce'] },
    { name: 'clockInfo.clock', reason: BOOT_HISTORY },
    { name: 'clockInfo.resetCount', reason: BOOT_HISTORY },
    { name: 'clockInfo.restartCount', reason: BOOT_HISTORY },
    { name: 'clockInfo.safe', reason: BOOT_HISTORY },
    { name: 'firmwareVersion', reason: "a number in its maker's own form; which TPM it is, its certificate says" },
    { name: 'selection', by: ['!selection'] },
    { name: 'pcrDigest', by: ['!registers'] },
  ],
};

/** A certification, which nothing accepts. */
export const TPM_CERTIFY: Members = {
  title: 'TPMS_ATTEST of a TPM: certifications and all other types',
  source: 'TCG TPM 2.0 Library, Part 2, 10.12; attestation/src/tpm/quote.ts',
  fields: [
    { name: 'type', by: ['!type'] },
    ...['qualifiedSigner', 'extraData', 'clockInfo', 'firmwareVersion', 'name', 'qualifiedName'].map((name) => ({
      name,
      reason: 'no evidence rests on one: a structure of this type is refused where a quote is expected',
    })),
  ],
};

/** AWS's document. */
export const NITRO_DOCUMENT: Members = {
  title: 'Document of an AWS Nitro enclave',
  source: 'AWS Nitro Enclaves SDK, "Attestation process", section 3.1; attestation/src/nitro',
  fields: [
    {
      name: 'module_id',
      reason: "the instance's name: a device that a deployment may name, and no part of what runs (check `deployment`)",
    },
    { name: 'timestamp', reason: "the hypervisor's clock; the nonce shows that a document is of now" },
    { name: 'digest', by: ['!format'] },
    { name: 'pcrs', by: ['nitro.pcr0', 'nitro.debug'] },
    { name: 'certificate', by: ['!chain'] },
    { name: 'cabundle', by: ['!chain'] },
    { name: 'public_key', by: ['nitro.public-key'] },
    { name: 'user_data', by: ['nitro.user-data'] },
    { name: 'nonce', by: ['nitro.nonce'] },
  ],
};

/** What Azure's paravisor puts around a processor's report. */
export const HCL_REPORT: Layout = {
  title: 'HCL report of an Azure confidential VM, up to its runtime data',
  source: 'Microsoft, "Azure confidential VM guest attestation"; attestation/src/azure/hcl.ts',
  length: 0x4d4,
  fields: consecutive([
    { name: 'signature', length: 4, by: ['!format'] },
    { name: 'version (1 or 2: they say the same)', length: 4, parsed: ['version'], by: ['!format'] },
    { name: 'report size', length: 4, parsed: ['size'], by: ['!format'] },
    { name: 'request type', length: 4, parsed: ['requestType'], by: ['!format'] },
    { name: 'status, reserved', length: 16, by: ['!format'] },
    {
      name: "hardware report (SEV-SNP's is above; a TDREPORT is shown by the TD quote beside it)",
      length: 1184,
      parsed: ['hardwareReport'],
      by: ['!signature', '!identity', '!format'],
    },
    { name: 'data size', length: 4, parsed: ['dataSize'], by: ['!format'] },
    { name: 'data version', length: 4, by: ['!format'] },
    { name: 'report type', length: 4, parsed: ['platform'], by: ['!format', '!platform'] },
    { name: 'hash type', length: 4, parsed: ['hash'], by: ['!format', '!binding'] },
    { name: 'size of the runtime data', length: 4, parsed: ['runtimeData'], by: ['!format'] },
  ]),
};

/** What it states there, whose digest is in the processor's report. */
export const HCL_RUNTIME: Members = {
  title: 'Runtime data of an HCL report',
  source: 'the same; its digest is the report data of the hardware report, or it is refused as `binding`',
  fields: [
    { name: 'keys', by: ['!signature', '!format'] },
    {
      name: 'vm-configuration',
      reason: "the host's words to the paravisor: shown as `azure.vm`, and compared with nothing",
    },
    {
      name: 'user-data',
      reason: 'what the guest may set for other verifiers; our nonce and statement are in the quote of the vTPM',
    },
  ],
};

/** Google's statement of its firmware, where the references go by it. */
export const GCE_ENDORSEMENT: Members = {
  title: "Google's launch endorsement of GCE firmware",
  source: 'google/gce-tcb-verifier, proto/endorsement.proto; attestation/src/gcp/endorsement.ts',
  fields: [
    { name: 'timestamp', by: ['gcp.firmware'] },
    { name: 'clSpec', reason: "a number of Google's source control" },
    { name: 'commit', reason: "a revision of Google's source control" },
    { name: 'certificate', by: ['!chain', '!signature'] },
    { name: 'digest', by: ['gce.firmware'] },
    { name: 'caBundle', reason: 'certificates to build a path with: a pinned root ends it' },
    { name: 'snp', by: ['gce.snp'] },
    { name: 'tdx', by: ['gce.mrtd'] },
  ],
};

/** All of them. */
export const LAYOUTS: readonly Layout[] = [SNP_REPORT, TDX_QUOTE, QE_REPORT, HCL_REPORT];
export const MEMBERS: readonly Members[] = [HCL_RUNTIME, TPM_QUOTE, TPM_CERTIFY, NITRO_DOCUMENT, GCE_ENDORSEMENT];

/** docs/reference/report-fields.md. */
export function reportFieldsMarkdown(): string {
  const judged = (row: Judged): string =>
    'reason' in row
      ? `not judged: ${row.reason}`
      : row.by.map((each) => (each.startsWith('!') ? `refused as \`${each.slice(1)}\`` : `\`${each}\``)).join(', ');
  const hex = (value: number): string => `0x${value.toString(16).padStart(3, '0')}`;
  const layouts = LAYOUTS.map(({ title, source, fields }) => {
    const rows = fields.flatMap((field) => [
      `| ${hex(field.at)} | ${field.length} | ${field.name} | ${field.bits === undefined ? judged(field) : 'by bits'} |`,
      ...(field.bits ?? []).map(
        ({ bit, last = bit, ...row }) =>
          `| | bit ${bit === last ? bit : `${bit}–${last}`} | ${row.name} | ${judged(row)} |`,
      ),
    ]);
    return `## ${title}\n${source}.\n\n| at | bytes | field | judged by |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`;
  });
  const members = MEMBERS.map(({ title, source, fields }) => {
    const rows = fields.map((row) => `| ${row.name} | ${judged(row)} |`);
    return `## ${title}\n${source}.\n\n| field | judged by |\n| --- | --- |\n${rows.join('\n')}\n`;
  });
  return `# Fields of reports

For reviewers who ask of a field whether it is judged. Afterwards you know the check, the refusal or the reason. It rests on the
vendors' specifications, by the sections named below.

Every field of what hardware signs (and of what Azure and Google put around it), with the check of a verdict that judges it (where a demand or a reference names a value),
the code that refuses it, or the reason why nothing does. Made from attestation/test/report-fields.ts, which a test holds
against the formats and against the code: \`node attestation/test/report-fields.ts > docs/reference/report-fields.md\`.

${[...layouts, ...members].join('\n')}`;
}

if (import.meta.main) process.stdout.write(reportFieldsMarkdown());
