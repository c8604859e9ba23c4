/** `enclaim verify`: saved evidence and receipts, offline. */

import { type KeyObject, sign } from 'node:crypto';
import type { References, Verdict } from '@enclaim/attestation';
import { fromBase64 } from '@enclaim/attestation/bytes';
import { signEar } from '@enclaim/attestation/rats';
import { type ComparedMessages, parseReceipt } from '@enclaim/attestation/receipt';
import { verdictDocument } from '@enclaim/attestation/verdict-document';
import {
  parseReceiptFile,
  type SavedOptions,
  type VerifiedReceiptFile,
  verifyReceiptFile,
  verifySaved,
} from '@enclaim/client';
import { verifyCoseReceiptFile } from '@enclaim/client/log';
import { isProofFile, verifyProofFile } from '@enclaim/client/proof';
import type { Command } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { type Claim, COSE_SIGN1, claimOfProof, claimOfReceipt } from './claims.ts';
import { EXIT } from './exit-status.ts';
import { collect, readDemands, readEd25519, readInput, readNewerThan, readPolicies, writeOutput } from './input.ts';
import { printable, printableJson } from './printable.ts';
import { asOfLine, proofDocument, proofLines } from './proof-path.ts';
import { readReferences } from './references-file.ts';
import { UsageError } from './usage-error.ts';
import { printVerdict } from './verdict-table.ts';

interface Options {
  readonly references: string;
  readonly referencesKey?: string;
  readonly deployment: string[];
  readonly newerThan?: string;
  readonly require: string[];
  readonly policyChain: string[];
  readonly ak: string[];
  readonly asOf?: string;
  readonly json?: true;
  readonly ear?: string;
  readonly earKey?: string;
}

/** Lines that are printed if not all messages of a receipt file were compared. */
const UNCOMPARED: Readonly<Record<ComparedMessages | 'not run', string | null>> = {
  both: null,
  prefix: 'receipt: the call ended before all of its request was taken: the messages after that were not compared',
  response: 'receipt: response only: it commits to no message of the request, and the one in the file was not compared',
  'not run': 'receipt: its messages were not compared, the file holds none',
};

export function register(program: Command): void {
  program
    .command('verify')
    .description('verify saved evidence, a receipt file or a proof of a record, offline')
    .argument('<file>', 'evidence, .enclaim-receipt, or what log proof and log receipt write')
    .requiredOption('--references <file>', 'reference values and trust anchors')
    .option('--references-key <pem>', 'public key that must have signed them, where they are a signed CoRIM')
    .option('--newer-than <time>', 'the boot must have begun then or later: RFC 3339, or P7D for a week ago')
    .option('--deployment <file>', "a deployment that the references' owner signed; repeatable", collect, [])
    .option('--require <demand>', 'what the attested policy must hold; repeatable', collect, [])
    .option(
      '--ak <digest>',
      'sha256:… of an attestation key to trust beside those of the references; repeatable',
      collect,
      [],
    )
    .option(
      '--policy-chain <file>',
      'a policy that --require neverWeakerThan names, to compare with; repeatable',
      collect,
      [],
    )
    .option(
      '--as-of <time>',
      'when certificates must be valid: RFC 3339, or "receipt" for its own time; by default now',
    )
    .option('--json', 'print the verdict as JSON on stdout')
    .option('--ear <file>', 'write the verdict as an attestation result (EAR, a signed JWT); needs --ear-key')
    .option('--ear-key <pem>', 'Ed25519 private key (PKCS #8) of this verifier')
    .action(verify);
}

async function verify(path: string, options: Options): Promise<void> {
  const at = Date.now();
  const content = await readInput(path);
  const asOf = asOfTime(options.asOf, content, at);
  const earKey = await readEarKey(options);
  const against = {
    references: withKeys(await readReferences(options, asOf), options.ak),
    demands: readDemands(options.require),
    now: () => asOf,
    newerThan: readNewerThan(options.newerThan, asOf),
    known: await readPolicies(options.policyChain),
  };
  const { verdict, body, messages, proof, later, claim } = await verified(content, against).catch((error: unknown) => {
    // A reader of JSON has an answer then, too.
    if (options.json) console.log(printableJson({ ok: false, error: described(error) }));
    throw error;
  });
  const shown = {
    ...(body && { receipt: { ...body, messages, ...(proof && { proof: proofDocument(proof, later) }) } }),
    ...(claim && { record: claim.document }),
  };
  if (options.json) console.log(printableJson(verdictDocument(verdict, { at, asOf }, shown)));
  else {
    printVerdict(verdict);
    if (claim !== undefined) console.error(claim.lines.map(printable).join('\n'));
    if (body !== undefined) {
      const what = printable(`${body.method}, number ${body.sequence}, ${body.time}, record ${body.record}`);
      // The receipt is signed by the boot of a verdict that is not ok: it vouches for nothing.
      console.error(verdict.ok ? `receipt: ok  ${what}` : `receipt: of a boot that is refused  ${what}`);
      const uncompared = UNCOMPARED[messages];
      if (uncompared !== null) console.error(uncompared);
      if (proof !== null) console.error(proofLines(body, proof, verdict, later).map(printable).join('\n'));
      if (options.asOf === 'receipt') console.error(printable(asOfLine(body)));
    }
  }
  if (options.ear !== undefined && earKey !== null) {
    const verifier = { build: `enclaim ${packageJson.version}`, developer: 'enclaim' };
    const issue = { iat: Math.floor(at / 1000), asOf, verifier };
    await writeOutput(options.ear, await signEar(verdict, issue, 'EdDSA', async (bytes) => sign(null, bytes, earKey)));
  }
  if (!verdict.ok || later.some((boot) => !boot.verdict.ok)) process.exitCode = EXIT.refused;
}

async function verified(content: Uint8Array, against: SavedOptions): Promise<Verified> {
  const none = { body: undefined, messages: undefined, proof: null, later: [] } as const;
  if (content[0] === COSE_SIGN1) {
    const receipt = await verifyCoseReceiptFile(content, against);
    return { ...none, verdict: receipt.verdict, claim: claimOfReceipt(receipt) };
  }
  if (isProofFile(content)) {
    const { verdict, proof, later } = await verifyProofFile(content, against);
    return { ...none, later, verdict, claim: claimOfProof(proof, verdict, later) };
  }
  if (content[0] === '{'.charCodeAt(0)) return verifyReceiptFile(parseReceiptFile(content), against);
  return { ...(await verifySaved(content, against)), ...none };
}

type Verified = (
  | VerifiedReceiptFile
  | {
      readonly verdict: Verdict;
      readonly body: undefined;
      readonly messages: undefined;
      readonly proof: null;
      readonly later: VerifiedReceiptFile['later'];
    }
) & { readonly claim?: Claim };

/** The time that everything is held against. @throws UsageError */
function asOfTime(text: string | undefined, content: Uint8Array, at: number): number {
  if (text === undefined) return at;
  if (text === 'receipt') {
    if (content[0] !== '{'.charCodeAt(0) || isProofFile(content))
      throw new UsageError('--as-of receipt: the file is no receipt file');
    return Date.parse(parseReceipt(fromBase64(parseReceiptFile(content).receipt)).body.time);
  }
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw new UsageError(`--as-of ${text}: expected 2026-11-20T12:00:00Z, or "receipt"`);
  return time;
}

function described(error: unknown): { name: string; code: string | null; message: string } {
  if (!(error instanceof Error)) return { name: 'Error', code: null, message: String(error) };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : null;
  return { name: error.name, code, message: error.message };
}

/** References that trust these attestation keys besides. @throws UsageError */
export function withKeys(references: References, keys: readonly string[]): References {
  const more = keys.map((key) => {
    if (!/^sha256:[0-9a-f]{64}$/.test(key)) throw new UsageError(`--ak ${key}: expected sha256: and 64 digits`);
    return key as `sha256:${string}`;
  });
  const { anchors } = references;
  return { ...references, anchors: { ...anchors, attestationKeys: [...anchors.attestationKeys, ...more] } };
}

async function readEarKey({ ear, earKey }: Options): Promise<KeyObject | null> {
  if ((ear === undefined) !== (earKey === undefined)) throw new UsageError('--ear and --ear-key go together');
  return earKey === undefined ? null : readEd25519('--ear-key', earKey);
}
