/** The processor's own evidence, beside a cloud's vTPM evidence. */

import { concat, equalBytes } from '../bytes.ts';
import { EvidenceError } from '../errors.ts';
import type { QuotedTd, ReportedVm, SnpCollateral } from '../gen/enclaim/v1/evidence_pb.js';
import type { Moment } from '../moment.ts';
import type { Anchors } from '../references/references.ts';
import { type SnpEvidence, verifySnp } from '../snp/index.ts';
import { type TdxEvidence, verifyTdx } from '../tdx/index.ts';
import type { Signed, Silicon } from './authenticated.ts';
import { describeRoot, siliconPins } from './silicon.ts';

/**
 * Key certificate, chain and revocation list as a report's verifier takes them.
 * @throws EvidenceError `collateral`
 */
export function snpCollateral({ certificates, crl }: SnpCollateral): Omit<SnpEvidence, 'report'> {
  const [leaf, ...intermediates] = certificates;
  if (leaf === undefined) throw new EvidenceError('collateral', 'a report without the certificate of its key');
  return { leaf, intermediates, crl: crl.length === 0 ? 'none' : crl };
}

/** A quote as its verifier takes it. */
export function quotedTd({ quote, collateral }: QuotedTd): TdxEvidence {
  return { quote, collateral: collateral ?? 'none' };
}

/**
 * Verifies a processor's statement over root and boot statement themselves.
 * @throws EvidenceError as `verifySnp`, `verifyTdx`; `nonce`
 */
export async function verifySilicon(
  silicon: { readonly case: 'snp'; readonly value: ReportedVm } | { readonly case: 'tdx'; readonly value: QuotedTd },
  { root, boot }: Signed,
  anchors: Anchors,
  options: Moment,
): Promise<Silicon> {
  const verified =
    silicon.case === 'snp'
      ? await verifyReported(silicon.value, anchors, options)
      : ({
          kind: 'tdx',
          tdx: await verifyTdx(quotedTd(silicon.value), siliconPins('intel', anchors), options),
        } as const);
  const { reportData } = verified.kind === 'snp' ? verified.snp.report : verified.tdx.quote.report;
  if (!equalBytes(reportData, concat(root, boot))) {
    throw new EvidenceError('nonce', 'the processor signed for another batch or another boot');
  }
  return verified;
}

async function verifyReported({ report, collateral }: ReportedVm, anchors: Anchors, options: Moment): Promise<Silicon> {
  if (collateral === undefined) throw new EvidenceError('collateral', 'a report without the certificate of its key');
  const evidence = { ...snpCollateral(collateral), report };
  return { kind: 'snp', snp: await verifySnp(evidence, siliconPins('amd', anchors), options) };
}

/** Describes the signer and the root behind it, in words for an auditor. */
export function describeSilicon(
  silicon: Silicon,
  anchors: Anchors,
): { readonly signed: string; readonly root: string } {
  if (silicon.kind === 'tdx') {
    const { quote, platform, chain } = silicon.tdx;
    const signed = `TD quote of version ${quote.version}, signed by a quoting enclave of platform ${platform.fmspc}`;
    return { signed, root: describeRoot('Intel', chain.pin, anchors) };
  }
  const { endorsement, chain } = silicon.snp;
  const signed = `report signed by the ${endorsement.signer} of a ${endorsement.product} at its reported TCB`;
  return { signed, root: describeRoot('AMD', chain.pin, anchors) };
}
