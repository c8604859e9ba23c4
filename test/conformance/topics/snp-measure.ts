/** SEV, SEV-ES and SEV-SNP launch digests, firmware metadata and ID blocks as other tools compute them. */

import { createHash } from 'node:crypto';
import { fromHex, toBase64, toHex } from '../../../attestation/src/bytes.ts';
import { AppraisalError } from '../../../attestation/src/errors.ts';
import { FIRMWARE_GUID, parseFirmware, sevSections, structureU32 } from '../../../attestation/src/measure/ovmf.ts';
import {
  type DirectBoot,
  describeSnpFirmware,
  sevLaunchDigest,
  snpLaunchDigest,
  snpSvsmLaunchDigest,
} from '../../../attestation/src/measure/snp.ts';
import { encodeIdBlock, snpKeyDigest } from '../../../attestation/src/measure/snp-id-block.ts';
import { qemuCpuSignature, type Vmm } from '../../../attestation/src/measure/snp-vmsa.ts';
import { publicKeyIn } from '../encoding.ts';
import { type Case, compare, fileOf, type Outcome } from '../topic.ts';

export const topic = 'snp-measure';

interface Inputs {
  readonly mode: 'SEV' | 'SEV_ES' | 'SEV_SNP' | 'SEV_SNP_SVSM';
  readonly vmm: string;
  readonly vcpus: number;
  readonly guest_features: string;
  readonly vcpu_sig?: string;
  readonly vcpu_type?: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly snp_ovmf_hash_override?: string;
  readonly ovmf_vars_size?: number;
}

interface Expected {
  readonly inputs?: Inputs;
  readonly launch_digest?: string;
  readonly result?: 'error';
  readonly ovmf_hash?: string;
  readonly sections?: unknown;
  readonly [key: string]: unknown;
}

export async function run(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  if (expected.inputs !== undefined)
    return compare(expected.launch_digest ?? 'error', await measured(test, dir, expected.inputs));
  if (expected.ovmf_hash !== undefined) {
    return compare(expected.ovmf_hash, toHex((await describeSnpFirmware(await fileOf(test, 'ovmf', dir))).digest));
  }
  return expected.sections === undefined ? runIdBlock(test, dir, expected) : runParse(test, dir, expected);
}

async function measured(test: Case, dir: string, inputs: Inputs): Promise<string> {
  try {
    return toHex(await launchDigest(test, dir, inputs));
  } catch (error) {
    if (error instanceof AppraisalError) return 'error';
    throw error;
  }
}

async function launchDigest(test: Case, dir: string, inputs: Inputs): Promise<Uint8Array> {
  const firmware = await fileOf(test, 'ovmf', dir);
  const direct = await directBoot(test, dir, inputs);
  const named = inputs.vcpu_sig === undefined ? undefined : Number(inputs.vcpu_sig);
  const cpuSignature = qemuCpuSignature(inputs.vcpu_type ?? '') ?? named ?? 0;
  if (named !== undefined && cpuSignature !== named) throw new Error(`${inputs.vcpu_type} is ${named}`);
  const vmm = inputs.vmm.toLowerCase() as Vmm;
  const { vcpus } = inputs;
  const processors = {
    vmm,
    vcpus,
    cpuSignature,
    features: inputs.mode === 'SEV_ES' ? 0n : BigInt(inputs.guest_features),
  };
  switch (inputs.mode) {
    case 'SEV':
      return sevLaunchDigest(firmware, { ...(direct && { direct }) });
    case 'SEV_ES':
      return sevLaunchDigest(firmware, { processors, ...(direct && { direct }) });
    case 'SEV_SNP_SVSM':
      return snpSvsmLaunchDigest(firmware, await fileOf(test, 'svsm', dir), {
        vcpus,
        cpuSignature,
        variablesSize: inputs.ovmf_vars_size ?? 0,
      });
    case 'SEV_SNP': {
      const described = await describeSnpFirmware(firmware);
      const override = inputs.snp_ovmf_hash_override;
      const known = override === undefined ? described : { ...described, digest: fromHex(override) };
      return snpLaunchDigest(known, { ...processors, ...(direct && { direct }) });
    }
  }
}

/** A file of the case, an empty one, or none. */
async function directBoot(test: Case, dir: string, inputs: Inputs): Promise<DirectBoot | undefined> {
  if (test.files.kernel === undefined && !inputs.kernel?.startsWith('empty')) return undefined;
  const hash = async (name: 'kernel' | 'initrd'): Promise<Uint8Array> =>
    createHash('sha256')
      .update(test.files[name] === undefined ? '' : await fileOf(test, name, dir))
      .digest();
  return { kernel: await hash('kernel'), initrd: await hash('initrd'), commandLine: inputs.append ?? '' };
}

const SECTION_NAMES = {
  secMem: ['SNP_SEC_MEM', 1],
  secrets: ['SNP_SECRETS', 2],
  cpuid: ['CPUID', 3],
  svsmCaa: ['SVSM_CAA', 4],
  kernelHashes: ['SNP_KERNEL_HASHES', 16],
} as const;

async function runParse(test: Case, dir: string, expected: Expected): Promise<Outcome> {
  const firmware = parseFirmware(await fileOf(test, 'ovmf', dir));
  const hex = (value: number): string => `0x${value.toString(16)}`;
  const table = firmware.structures.has(FIRMWARE_GUID.hashesTable)
    ? structureU32(firmware, FIRMWARE_GUID.hashesTable)
    : 0;
  return compare(expected, {
    size: firmware.bytes.length,
    load_gpa: hex(firmware.gpa),
    footer_table_guids: [...firmware.structures.keys()],
    sections: sevSections(firmware).map(({ kind, gpa, size }) => {
      const [type, type_value] = SECTION_NAMES[kind];
      return { type, type_value, gpa: hex(gpa), size: hex(size) };
    }),
    sev_es_reset_eip: hex(structureU32(firmware, FIRMWARE_GUID.resetBlock)),
    sev_hashes_table_gpa: hex(table),
  });
}

async function runIdBlock(test: Case, dir: string, expected: Expected): Promise<Outcome> {
  const launchDigest = fromHex(String(expected.launch_digest));
  const [familyId, imageId] = [new Uint8Array(16), new Uint8Array(16)];
  const block = encodeIdBlock({ launchDigest, familyId, imageId, guestSvn: 0, policy: 0x30000n });
  const digestOf = async (name: string): Promise<string> => {
    const key = publicKeyIn(await fileOf(test, name, dir));
    return toHex(snpKeyDigest(key.export({ type: 'spki', format: 'der' })));
  };
  return compare(expected, {
    launch_digest: expected.launch_digest,
    id_block_b64: toBase64(block),
    id_key_digest: await digestOf('id_key'),
    author_key_digest: await digestOf('author_key'),
  });
}
