/** `enclaim state`: a state disk as one file, and back. */

import { seenIn } from '@enclaim/client/log';
import type { Command } from 'commander';
import { printable } from '../printable.ts';
import { readReferences } from '../references-file.ts';
import { UsageError } from '../usage-error.ts';
import { exportState } from './export.ts';
import { epochOf, type StateHeader } from './file.ts';
import { importState, openState } from './import.ts';
import { recoveryOf, registerRecovery } from './recovery.ts';

interface ExportOptions {
  readonly to: string;
  readonly json?: true;
}

interface ImportOptions extends ExportOptions {
  readonly references?: string;
  readonly referencesKey?: string;
  readonly seen?: string;
  readonly recovery?: string;
  readonly policy?: string;
}

/** Adds the command to the program. */
export function register(program: Command): void {
  const state = program.command('state').description('back up the state disk of a machine, and bring it back');
  state
    .command('export')
    .description('write the state disk of a machine that does not run to one file, still encrypted')
    .argument('<state>', 'the folder of enclaim run --state; or a raw disk alone')
    .requiredOption('--to <file>', 'where it is written; nothing may be there')
    .option('--json', 'what was exported as JSON')
    .action(exported);
  state
    .command('import')
    .description('verify an exported state, and put it into a state folder that has no disk')
    .argument('<file>', 'an exported state (state export)')
    .requiredOption('--to <folder>', 'a folder for enclaim run --state; its TPM is left alone')
    .option('--references <file>', 'reference values and trust anchors, which each kept quote of the disk has to meet')
    .option('--references-key <pem>', 'public key that must have signed them, where they are a signed CoRIM')
    .option('--seen <folder>', 'a copy of the log (log tiles --to), whose tree must be in it')
    .option('--recovery <file>', 'a signed recovery (state recovery), by which an older copy is gone on with')
    .option('--policy <what>', 'with --recovery: the policy that names its signers, a file or an app bundle')
    .option('--json', 'what was imported as JSON')
    .action(imported);
  state
    .command('show')
    .description('what an exported state says of itself; nothing of it is verified')
    .argument('<file>', 'an exported state (state export)')
    .option('--json', 'as JSON')
    .action(show);
  registerRecovery(state);
}

async function exported(path: string, { to, json }: ExportOptions): Promise<void> {
  const header = await exportState(path, to);
  console.log(json ? JSON.stringify(header) : described(header).join('\n'));
}

async function imported(path: string, options: ImportOptions): Promise<void> {
  const { to, json, references, referencesKey, seen, recovery, policy } = options;
  if (references === undefined && referencesKey !== undefined)
    throw new UsageError('--references-key needs --references');
  if ((recovery === undefined) !== (policy === undefined)) throw new UsageError('--recovery and --policy go together');
  const known = seen === undefined ? undefined : await seenIn(seen);
  if (seen !== undefined && known === undefined) throw new UsageError(`--seen ${seen}: there is no checkpoint in it`);
  const header = await importState(path, to, {
    known: known === undefined ? [] : [known],
    references: references === undefined ? undefined : await readReferences({ ...options, references }),
    recovery: recovery === undefined ? undefined : (found) => recoveryOf(recovery, policy ?? '', found),
  });
  console.log(json ? JSON.stringify(header) : described(header).join('\n'));
  console.error(beforehand(header));
  if (recovery !== undefined) console.error('its boot states that the state was recovered, and by which recovery');
}

async function show(path: string, { json }: { readonly json?: true }): Promise<void> {
  const { file, state } = await openState(path);
  await file.close();
  console.log(json ? JSON.stringify(state.header) : described(state.header).join('\n'));
}

/** A header for people. */
function described(header: StateHeader): string[] {
  const { made, source, capacity, blocks, log, newest, launch } = header;
  return [
    `exported   ${made}, of ${source === 'folder' ? 'a state folder' : 'a disk alone'}`,
    `disk       ${capacity} bytes, ${blocks} MiB of it in use`,
    `log        ${log.size} records, root ${log.root}${log.minimum === 0 ? '' : `; from ${log.minimum} on`}`,
    ...(newest === null ? [] : [`newest     ${newest.time}, ${newest.system}, policy ${newest.policy}`]),
    `epoch      ${epochOf(header) ?? 'none: nothing is sealed on it'}`,
    ...(launch === null ? [] : [`sealed to  image ${launch.image}`, `           ${launch.commandLine}`]),
  ].map(printable);
}

/** The fate of an imported state at its boot, said before it. */
function beforehand(header: StateHeader): string {
  const epoch = epochOf(header);
  if (epoch === null) return 'nothing is sealed on this disk: no keeper says whether its log is the newest';
  return `it opens while its TPM is at epoch ${epoch}: a boot since has destroyed its key for good`;
}
