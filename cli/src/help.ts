/** `enclaim help`: help of a command, or a topic that concerns them all. */

import type { Command } from 'commander';
import { CALL_LIMITS } from './call-limits.ts';
import { EXIT, EXIT_MEANS } from './exit-status.ts';
import { UsageError } from './usage-error.ts';

const TOPICS: Readonly<Record<string, () => string>> = {
  'exit-statuses': exitStatuses,
  limits: () => CALL_LIMITS.trim(),
};

export function register(program: Command): void {
  program
    .command('help')
    .description(`help for a command, or on ${Object.keys(TOPICS).join(' or ')}`)
    .argument('[words...]', 'words of the command, or a topic')
    .action((words: readonly string[]) => help(program, words));
}

function help(program: Command, words: readonly string[]): void {
  const [topic = '', ...more] = words;
  if (more.length === 0 && Object.hasOwn(TOPICS, topic)) {
    console.log(TOPICS[topic]?.());
    return;
  }
  let command = program;
  for (const word of words) {
    const next = command.commands.find((each) => each.name() === word || each.aliases().includes(word));
    if (next === undefined)
      throw new UsageError(`no command and no topic "${words.join(' ')}"; topics: ${Object.keys(TOPICS).join(', ')}`);
    command = next;
  }
  command.outputHelp();
}

function exitStatuses(): string {
  const rows = Object.entries(EXIT).map(([name, status]) => {
    return `  ${String(status).padEnd(5)}${name.padEnd(13)}${EXIT_MEANS[name as keyof typeof EXIT]}`;
  });
  return ['Exit statuses of all commands:', ...rows].join('\n');
}
