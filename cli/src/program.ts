/** The tree of commands: their words, options and what help says of them. */

import { Command } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { NOTES } from './manual/notes.ts';
import { describeArgument, describeOption, helpEnd, leavesOf, wordsOf } from './manual/pages.ts';

/** The module of a command. */
interface CommandModule {
  /** Adds the command to a tree. */
  readonly register: (program: Command) => void;
}

/**
 * Commands in the order in which help lists them, each with its module. **Cost**: to load all of
 * them takes longer than most commands do, so that a call loads its own alone.
 */
const MODULES: Readonly<Record<string, () => Promise<CommandModule>>> = {
  init: () => import('./policy/init.ts'),
  gen: () => import('./gen.ts'),
  check: () => import('./policy/check.ts'),
  diff: () => import('./policy/diff.ts'),
  test: () => import('./policy/test.ts'),
  policy: () => import('./policy/policy.ts'),
  key: () => import('./key.ts'),
  image: () => import('./image/image.ts'),
  bundle: () => import('./image/bundle.ts'),
  dev: () => import('./dev/dev.ts'),
  run: () => import('./run.ts'),
  references: () => import('./references.ts'),
  release: () => import('./release.ts'),
  witness: () => import('./witness/command.ts'),
  corim: () => import('./corim.ts'),
  deployment: () => import('./deployment.ts'),
  call: () => import('./call.ts'),
  proxy: () => import('./proxy.ts'),
  log: () => import('./log.ts'),
  state: () => import('./state/command.ts'),
  secret: () => import('./secret.ts'),
  verify: () => import('./verify.ts'),
  audit: () => import('./image/audit.ts'),
  statement: () => import('./statement.ts'),
  completion: () => import('./completion.ts'),
  help: () => import('./help.ts'),
};
/** Commands that read the tree: they need all of it. */
const WHOLE: readonly string[] = ['help', 'completion'];

/**
 * A new tree, which throws where commander would end the process.
 * @param words - Of a call: where the first names a command, the tree has no other. By default the
 *   tree is whole.
 */
export async function makeProgram(words: readonly string[] = []): Promise<Command> {
  const program = new Command('enclaim')
    .description('Policies that a running system cannot exceed, and the evidence for it.')
    .version(packageJson.version)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'enclaim: ')) })
    .configureHelp({ optionDescription: describeOption, argumentDescription: describeArgument });
  const [first = ''] = words;
  const isAlone = Object.hasOwn(MODULES, first) && !WHOLE.includes(first);
  const modules = Object.entries(MODULES).filter(([name]) => !isAlone || name === first);
  for (const { register } of await Promise.all(modules.map(([, load]) => load()))) register(program);
  for (const command of leavesOf(program)) {
    const note = NOTES[wordsOf(command)];
    if (note !== undefined) command.addHelpText('after', helpEnd(note));
  }
  return program;
}
