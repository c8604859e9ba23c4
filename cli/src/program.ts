/** The tree of commands: their words, options and what help says of them. */

import { Command } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { register as registerCall } from './call.ts';
import { register as registerCompletion } from './completion.ts';
import { register as registerCorim } from './corim.ts';
import { register as registerDeployment } from './deployment.ts';
import { register as registerDev } from './dev/dev.ts';
import { register as registerGen } from './gen.ts';
import { register as registerHelp } from './help.ts';
import { register as registerAudit } from './image/audit.ts';
import { register as registerBundle } from './image/bundle.ts';
import { register as registerImage } from './image/image.ts';
import { register as registerKey } from './key.ts';
import { register as registerLog } from './log.ts';
import { NOTES } from './manual/notes.ts';
import { describeArgument, describeOption, helpEnd, leavesOf, wordsOf } from './manual/pages.ts';
import { register as registerCheck } from './policy/check.ts';
import { register as registerDiff } from './policy/diff.ts';
import { register as registerInit } from './policy/init.ts';
import { register as registerPolicy } from './policy/policy.ts';
import { register as registerTest } from './policy/test.ts';
import { register as registerProxy } from './proxy.ts';
import { register as registerReferences } from './references.ts';
import { register as registerRelease } from './release.ts';
import { register as registerRun } from './run.ts';
import { register as registerStatement } from './statement.ts';
import { register as registerVerify } from './verify.ts';
import { register as registerWitness } from './witness/command.ts';

/** Commands in the order in which help lists them. */
const REGISTERS = [
  registerInit,
  registerGen,
  registerCheck,
  registerDiff,
  registerTest,
  registerPolicy,
  registerKey,
  registerImage,
  registerBundle,
  registerDev,
  registerRun,
  registerReferences,
  registerRelease,
  registerWitness,
  registerCorim,
  registerDeployment,
  registerCall,
  registerProxy,
  registerLog,
  registerVerify,
  registerAudit,
  registerStatement,
  registerCompletion,
  registerHelp,
];

/** A new tree, which throws where commander would end the process. */
export function makeProgram(): Command {
  const program = new Command('enclaim')
    .description('Policies that a running system cannot exceed, and the evidence for it.')
    .version(packageJson.version)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'enclaim: ')) })
    .configureHelp({ optionDescription: describeOption, argumentDescription: describeArgument });
  for (const register of REGISTERS) register(program);
  for (const command of leavesOf(program)) {
    const note = NOTES[wordsOf(command)];
    if (note !== undefined) command.addHelpText('after', helpEnd(note));
  }
  return program;
}
