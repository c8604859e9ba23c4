/** `enclaim audit`: rebuild the base image from source and say what is not the same. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { verifyEvidence } from '@enclaim/attestation/evidence';
import type { TpmLaunch } from '@enclaim/attestation/measure';
import { parseReferences } from '@enclaim/attestation/references';
import {
  artefactOf,
  buildImage,
  compareArtefact,
  compareCommandLine,
  compareManifests,
  compareRegisters,
  type Difference,
  type Manifest,
} from '@enclaim/image';
import type { Command } from 'commander';
import { readInput } from '../input.ts';
import { UsageError } from '../usage-error.ts';
import { buildOptions } from './build.ts';
import { IMAGE_FOLDER, type ImageFolder, readManifestFile } from './folder.ts';

/** Exit status where something differs; errors of the audit itself end with another one. */
const DIFFERENT = 3;

interface AuditOptions {
  readonly manifest: string;
  readonly evidence?: string;
  readonly references?: string;
  readonly mirror?: string[];
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('audit')
    .description('rebuild the base image from this source and compare it with a manifest, its files and evidence')
    .option('--manifest <file>', 'manifest to hold against the rebuilt image', join(IMAGE_FOLDER, 'manifest.json'))
    .option('--evidence <file>', 'saved evidence of a running machine; needs --references')
    .option('--references <file>', 'whose signatures on evidence are believed')
    .option('--mirror <url...>', "Debian mirrors to fetch from (default: this machine's apt sources)")
    .option('--json', 'the differences as JSON')
    .action(async (options: AuditOptions) => {
      const claimed = await readManifestFile(options.manifest);
      const machine = await readMachine(options); // first, for it takes no minute to be refused
      const rebuilt = await buildImage({ ...buildOptions(options.mirror), reuse: false });
      const differences = [
        ...compareManifests(claimed.manifest, rebuilt.manifest),
        ...(await compareFiles(claimed)),
        ...(machine === null
          ? []
          : [
              ...compareCommandLine(rebuilt.manifest.references.tpm, machine.launch),
              ...compareRegisters(machine.registers, rebuilt.manifest.references.tpm, machine.launch),
            ]),
      ];
      report(differences, rebuilt.manifest, machine !== null, options.json === true);
      if (differences.length > 0) process.exitCode = DIFFERENT;
    });
}

/** What the registers of a machine are, by a signature that the references trust, and what it says it was started with. */
interface MachineState {
  readonly registers: ReadonlyMap<number, Uint8Array>;
  readonly launch: Omit<TpmLaunch, 'boot'>;
}

/** @throws EvidenceError where the evidence is not authentic; AppraisalError for unusable references */
async function readMachine({ evidence, references }: AuditOptions): Promise<MachineState | null> {
  if (evidence === undefined) return null;
  if (references === undefined) throw new UsageError('--evidence needs --references: unsigned registers show nothing');
  const { anchors } = parseReferences(await readInput(references));
  const context = { now: Date.now(), channel: 'offline', activation: null } as const;
  const { hardware, statement } = await verifyEvidence(await readInput(evidence), anchors, context);
  if (hardware.kind !== 'tpm')
    throw new UsageError(`evidence of platform ${hardware.kind} holds no registers of a TPM`);
  const { policy, bundle } = statement;
  return { registers: hardware.registers, launch: { commandLine: hardware.commandLine, policy, bundle } };
}

/** The bytes beside a manifest, which may have been changed after it was written. */
async function compareFiles({ folder, manifest }: ImageFolder): Promise<Difference[]> {
  const compared = Object.entries(manifest.artefacts).map(async ([name, artefact]) => {
    const bytes = await readFile(join(folder, artefact.file)).catch(() => null);
    return compareArtefact(name, artefact, bytes === null ? null : artefactOf(artefact.file, bytes));
  });
  return (await Promise.all(compared)).flat();
}

function report(differences: readonly Difference[], rebuilt: Manifest, withEvidence: boolean, json: boolean): void {
  if (json) {
    console.log(JSON.stringify({ image: rebuilt.id, ok: differences.length === 0, differences }, null, 2));
    return;
  }
  for (const { component, claimed, rebuilt: own } of differences) {
    console.log(`differs  ${component}\n  claimed ${claimed ?? '(not there)'}\n  rebuilt ${own ?? '(not there)'}`);
  }
  const compared = withEvidence
    ? 'manifest, files and registers'
    : 'manifest and files; registers: not run, no --evidence';
  if (differences.length === 0) console.log(`same     ${rebuilt.id} (${compared})`);
}
