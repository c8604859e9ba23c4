/**
 * `verifyEvidence`: finds who signed, and checks that nonce, keys, statement, policy and registers
 * belong together.
 */

import { decodePolicy, digestOfCanonical, type Policy } from '@enclaim/policy-schema/admission';
import { type BatchPath, batchRoot, decodeCheckpointLeaf, decodeNonceLeaf, type NonceLeaf } from '../batch.ts';
import { equalBytes, toHex } from '../bytes.ts';
import { digestText } from '../digest.ts';
import { EvidenceError } from '../errors.ts';
import { type Evidence, EvidenceSchema } from '../gen/enclaim/v1/evidence_pb.js';
import { decodeMessage } from '../message.ts';
import { type End, earlier } from '../moment.ts';
import { parseOnce } from '../parse-once.ts';
import { parsePart } from '../parse-part.ts';
import type { Anchors } from '../references/references.ts';
import { type BootStatement, bootDigest, decodeStatement, type Platform } from '../statement.ts';
import { type Check, notRun, passed } from '../verdict/verdict.ts';
import type { Authenticated, Context, Hardware, Signed } from './authenticated.ts';
import { verifyAzure } from './azure.ts';
import { verifyGcp } from './gcp.ts';
import { verifyNitroEnclave } from './nitro.ts';
import { verifySimulated } from './simulated.ts';
import { verifySnpHardware } from './snp.ts';
import { verifyTdxHardware } from './tdx.ts';
import { verifyTpm } from './tpm.ts';

/** Largest evidence message in bytes. */
export const MAX_EVIDENCE_BYTES: number = 1024 * 1024;

/**
 * Verifies evidence. It works offline; facts of the connection come from `context`.
 * @param bytes an `enclaim.v1.Evidence` message
 * @throws EvidenceError with the layer that refused
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parseReferences, verifyEvidence } from '@enclaim/attestation';
 *
 * const { anchors } = parseReferences(await readFile('references.json'));
 * const context = { now: Date.now(), channel: 'offline', activation: null } as const;
 * const { platform } = await verifyEvidence(await readFile('now.evidence'), anchors, context);
 * console.log(platform); // who signed is known; whether that is enough, `appraise` says
 * ```
 */
export async function verifyEvidence(bytes: Uint8Array, anchors: Anchors, context: Context): Promise<Authenticated> {
  const evidence = parsePart('format', 'evidence', bytes, (all) =>
    decodeMessage(EvidenceSchema, all, MAX_EVIDENCE_BYTES),
  );
  const statement = verifyStatement(evidence);
  const policy = verifyPolicy(evidence, statement);
  const { root, fresh } = verifyLeaf(evidence, statement, context);
  const boot = bootDigest(evidence.statement);
  let end: End | null = null;
  const dated: Context = { ...context, holds: (one) => (end = earlier(end, one)) };
  const { hardware, checks } = await verifyHardware(evidence, statement, { root, boot }, anchors, dated);
  return {
    platform: statement.platform,
    verifiedAt: context.now,
    end,
    statement,
    bootDigest: boot,
    policy,
    policyBytes: evidence.policy,
    hardware,
    checks: [
      ...checks,
      ...fresh,
      passed(
        'policy.binding',
        `${IN_REGISTERS.includes(hardware.kind) ? 'registers, ' : ''}statement and policy agree on ${statement.policy}`,
      ),
    ],
  } as unknown as Authenticated;
}

/**
 * The policy that evidence states, in canonical bytes. **Trust**: none of it is verified.
 * @throws EvidenceError `format`
 */
export function policyOfEvidence(bytes: Uint8Array): Uint8Array {
  return parsePart('format', 'evidence', bytes, (all) => decodeMessage(EvidenceSchema, all, MAX_EVIDENCE_BYTES)).policy;
}

/**
 * The boot statement that evidence states. **Trust**: none of it is verified.
 * @throws EvidenceError `format`
 */
export function statementOfEvidence(bytes: Uint8Array): BootStatement {
  const { statement } = parsePart('format', 'evidence', bytes, (all) =>
    decodeMessage(EvidenceSchema, all, MAX_EVIDENCE_BYTES),
  );
  return parsePart('format', 'boot statement', statement, decodeStatement);
}

const NOTHING = new Uint8Array();

/**
 * Platforms whose registers verification compares with the statement; on other platforms appraisal
 * predicts the launch.
 */
const IN_REGISTERS: readonly Hardware['kind'][] = ['tpm', 'azure', 'gcp', 'nitro'];

/** Platforms whose evidence proves no key of a TPM. */
const WITHOUT_TPM: readonly Platform[] = ['snp', 'tdx', 'nitro', 'simulated'];

function verifyStatement({ statement: bytes, platform }: Evidence): BootStatement {
  const statement = parsePart('format', 'boot statement', bytes, decodeStatement);
  if (statement.platform !== platform) {
    throw new EvidenceError('platform', `evidence of platform ${platform}, statement of ${statement.platform}`);
  }
  // If evidence can carry a log, its platform's verifier compares the log. On any other platform a
  // stated log is missing, and the evidence is refused.
  if (statement.events !== undefined && statement.platform !== 'tdx') {
    throw new EvidenceError(
      'binding',
      `evidence of platform ${platform} has no event log, stated is ${statement.events}`,
    );
  }
  if (WITHOUT_TPM.includes(statement.platform) && Object.values(statement.device).some((key) => key !== null)) {
    throw new EvidenceError('binding', `the statement names keys of a TPM, evidence of platform ${platform} has none`);
  }
  return statement;
}

function verifyHardware(
  evidence: Evidence,
  statement: BootStatement,
  signed: Signed,
  anchors: Anchors,
  context: Context,
): ReturnType<typeof verifyTpm> {
  switch (statement.platform) {
    case 'tpm':
      return verifyTpm(evidence, statement, signed, anchors, context);
    case 'snp':
      return verifySnpHardware(evidence, signed, anchors, context);
    case 'tdx':
      return verifyTdxHardware(evidence, statement, signed, anchors, context);
    case 'azure-snp':
    case 'azure-tdx':
      return verifyAzure(evidence, statement, signed, anchors, context);
    case 'gcp':
      return verifyGcp(evidence, statement, signed, anchors, context);
    case 'nitro':
      return verifyNitroEnclave(evidence, statement, signed, anchors, context);
    case 'simulated':
      return verifySimulated(evidence, signed, anchors);
  }
}

function verifyPolicy({ policy: bytes }: Evidence, statement: BootStatement): Policy {
  const digest = digestOfCanonical(bytes);
  if (digest !== statement.policy)
    throw new EvidenceError('binding', `policy is ${digest}, stated is ${statement.policy}`);
  const policy = readPolicy(bytes);
  const { key } = policy.system.owner;
  if ((key === 'none' ? null : key) !== statement.owner) {
    throw new EvidenceError('binding', `owner of the policy is ${key}, stated is ${statement.owner ?? 'none'}`);
  }
  return policy;
}

/** Evidence of a deployment carries the same policy each time. */
const decodePolicyOnce = parseOnce(decodePolicy);

function readPolicy(bytes: Uint8Array): Policy {
  try {
    return decodePolicyOnce(bytes);
  } catch (cause) {
    throw new EvidenceError('format', `policy: ${(cause as Error).message}`, { cause });
  }
}

/** The root over the leaf of evidence, and the checks of what the leaf says. */
function verifyLeaf(
  { leaf }: Evidence,
  { keys }: BootStatement,
  { channel }: Context,
): { readonly root: Uint8Array; readonly fresh: readonly Check[] } {
  if (leaf === undefined) throw new EvidenceError('format', 'evidence without a leaf');
  const path: BatchPath = leaf;
  const root = parsePart('format', 'leaf', path, batchRoot);
  if (channel !== 'offline' && 'checkpoint' in channel) {
    const text = parsePart('format', 'leaf', path.data, decodeCheckpointLeaf);
    // layer: checkpoint under the quote
    if (text !== channel.checkpoint) {
      throw new EvidenceError('binding', 'the quote covers another checkpoint than the one that is signed');
    }
    return { root, fresh: coveringCheckpoint() };
  }
  const nonce = parsePart('format', 'leaf', path.data, decodeNonceLeaf);
  if (digestText('sha256', nonce.spki) !== keys.tls) {
    throw new EvidenceError('binding', 'the leaf names another TLS key than the boot statement');
  }
  if (channel !== 'offline') verifyNonce(nonce, channel);
  return { root, fresh: freshness(nonce, channel) };
}

type Connection = Extract<Context['channel'], { readonly nonce: Uint8Array }>;

function verifyNonce(nonce: NonceLeaf, channel: Connection): void {
  if (!equalBytes(nonce.nonce, channel.nonce)) {
    throw new EvidenceError('nonce', `made for nonce ${toHex(nonce.nonce)}, not for ${toHex(channel.nonce)}`);
  }
  if (!equalBytes(nonce.spki, channel.spki)) {
    throw new EvidenceError('binding', 'the connection ends at another TLS key than the evidence');
  }
  // A verifier that can export demands that the runtime did. A leaf without an exporter was made
  // for any connection under the key.
  if (channel.exporter !== null && nonce.exporter === null) {
    throw new EvidenceError('binding', 'the evidence is bound to the TLS key, and not to this connection (exporter)');
  }
  if (channel.exporter !== null && !equalBytes(nonce.exporter ?? NOTHING, channel.exporter)) {
    throw new EvidenceError('binding', 'the evidence was made for another connection under the same key');
  }
}

function freshness({ exporter }: NonceLeaf, channel: Connection | 'offline'): Check[] {
  if (channel === 'offline') {
    const detail = 'evidence from a file: it was made for somebody’s nonce at some time';
    return [notRun('nonce', detail), notRun('channel', 'evidence from a file: there is no connection')];
  }
  const both = exporter !== null && channel.exporter !== null;
  return [
    passed('nonce', 'the quote covers the nonce sent on this connection'),
    passed(
      'channel',
      both ? 'bound to the TLS key and to this connection (exporter)' : 'bound to the TLS key; this end cannot export',
    ),
  ];
}

function coveringCheckpoint(): Check[] {
  return [
    notRun('nonce', 'evidence of a log: the quote covers its checkpoint, and no nonce'),
    notRun('channel', 'evidence of a log: there is no connection'),
    passed('checkpoint', 'the quote covers the checkpoint of the log'),
  ];
}
