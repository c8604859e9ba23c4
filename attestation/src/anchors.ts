/**
 * The roots that evidence of real hardware leads to, as SHA-256 pins of their certificates (DER).
 */

import type { Pin } from './x509/chain.ts';

/** Pins by maker of the hardware. An empty list means that evidence of that maker is refused. */
export interface VendorAnchors {
  /** AMD root keys (ARK), one per product line. */
  readonly amd: readonly Pin[];
  /** Intel SGX Root CA, which also roots TDX. */
  readonly intel: readonly Pin[];
  /** AWS Nitro Enclaves root. */
  readonly nitro: readonly Pin[];
  /** Root of Google's launch endorsements of GCE firmware. */
  readonly gceFirmware: readonly Pin[];
  /** Roots of the certificates of attestation keys in GCE's virtual TPMs. */
  readonly gceTpm: readonly Pin[];
}

/**
 * The makers' own roots. The list names the source of each. Each was compared with what the maker
 * publishes, unless its line says otherwise:
 * - AMD: `https://kdsintf.amd.com/vcek/v1/{Milan,Genoa,Turin}/cert_chain`, the last certificate of
 *   each.
 * - Intel: `Intel_SGX_Provisioning_Certification_RootCA.cer` at
 *   `https://certificates.trustedservices.intel.com/`.
 * - AWS: `https://aws-nitro-enclaves.amazonaws.com/AWS_NitroEnclaves_Root-G1.zip`; the fingerprint
 *   is in the Nitro Enclaves user guide, "Verifying the root of trust".
 * - GCE firmware: `https://pki.goog/cloud_integrity/GCE-cc-tcb-root_1.crt`. Not fetched here: the
 *   digest is the one that several projects independent of each other record of that file.
 * - GCE TPM: `server/ca-certs/tpm_ek_root_1.cer` of google/go-tpm-tools, hashed here; and
 *   `gcp_ek_ak_ca_root.crt` of the same folder ("EK/AK CA Root", 2022), whose digest is the one
 *   that two independent projects record.
 */
export const VENDOR_ANCHORS: VendorAnchors = {
  amd: [
    'sha256:69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd', // ARK-Milan
    'sha256:4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1', // ARK-Genoa
    'sha256:1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a', // ARK-Turin
  ],
  intel: ['sha256:44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3'],
  nitro: ['sha256:641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b'],
  gceFirmware: ['sha256:e876bc6978bf4f3da445f98a0a82363c8c0bae5a1fc033c6df65846a6cb0f18c'],
  gceTpm: [
    // tpm_ek_v1_cloud_host_root, 2018
    'sha256:9bd5285f8fb18502a7947e621ffd470266f49fcd3b73e19a190f690ad32a7caf',
    // EK/AK CA Root, 2022
    'sha256:594759594b9b61524f6c8ef668f7177f7b9066bc0674f2f49fe9e052be78beb2',
  ],
};
