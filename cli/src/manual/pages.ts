/** Pages of the manual: each command with its words, options and note, read out of the tree. */

import type { Argument, Command, Option } from 'commander';
import { EXIT } from '../exit-status.ts';
import { NOTES, type Note } from './notes.ts';

/** A word that can be typed, and what it means. */
export interface Row {
  readonly word: string;
  readonly about: string;
}

/** The page of a command that does something. */
export interface Page {
  /** Words of the command, after `enclaim`. */
  readonly name: string;
  /** As help has it: `enclaim check [options] [folder]`. */
  readonly usage: string;
  readonly about: string;
  readonly arguments: readonly Row[];
  readonly options: readonly Row[];
  readonly note: Note;
}

/** A status of the table, with its number. */
export interface Ending {
  readonly status: number;
  readonly name: keyof typeof EXIT;
}

/**
 * The pages in the order of help.
 * @throws Error if a command has no note
 */
export function pagesOf(program: Command): Page[] {
  return leavesOf(program).map((command) => {
    const name = wordsOf(command);
    const note = NOTES[name];
    if (note === undefined) throw new Error(`cli/src/manual/notes.ts has no note of ${name}`);
    return {
      ...{ name, note, usage: `enclaim ${name} ${command.usage()}`.trim(), about: command.description() },
      arguments: command.registeredArguments.map((argument) => ({
        word: argument.variadic ? `${argument.name()}…` : argument.name(),
        about: describeArgument(argument),
      })),
      options: command.options.map((option) => ({ word: option.flags, about: describeOption(option) })),
    };
  });
}

/** The commands that do something. The commands above them only group them. */
export function leavesOf(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf);
}

/** Words that lead to a command, after `enclaim`. */
export function wordsOf(command: Command): string {
  const { parent } = command;
  const above = parent === null ? '' : wordsOf(parent);
  return parent === null ? '' : `${above} ${command.name()}`.trim();
}

/** Meaning of an option, whether it must be there, what it takes and what it is if left out. */
export function describeOption({ description, mandatory, argChoices, ...option }: Option): string {
  const { defaultValue, defaultValueDescription } = option;
  const extra = [
    ...(argChoices === undefined ? [] : [argChoices.join(', ')]),
    ...(mandatory && (defaultValue === undefined || Array.isArray(defaultValue)) ? ['required'] : []),
    ...defaultOf(defaultValue, defaultValueDescription),
  ];
  return withExtra(description, extra);
}

/** Meaning of an argument, what it takes and what it is if left out. */
export function describeArgument({ description, argChoices, defaultValue, defaultValueDescription }: Argument): string {
  const choices = argChoices === undefined ? [] : [argChoices.join(', ')];
  return withExtra(description, [...choices, ...defaultOf(defaultValue, defaultValueDescription)]);
}

/** A list that begins empty is no default that a reader wants to know of. */
function defaultOf(value: unknown, described: string | undefined): string[] {
  if (described !== undefined) return [`default: ${described}`];
  return value === undefined || Array.isArray(value) ? [] : [`default: ${String(value)}`];
}

function withExtra(description: string, extra: readonly string[]): string {
  const end = extra.length === 0 ? '' : `(${extra.join('; ')})`;
  return [description, end].filter((part) => part !== '').join(' ');
}

/** The exit statuses of a command, by number. */
export function endingsOf({ ends }: Note): Ending[] {
  const names = ['ok', 'usage', ...ends] as const;
  return names.map((name) => ({ name, status: EXIT[name] })).sort((one, other) => one.status - other.status);
}

/** Text behind the options in the help of a command. */
export function helpEnd(note: Note): string {
  const endings = endingsOf(note).map(({ status, name }) => `${status} ${name}`);
  return `\nExample:\n  ${note.example}\n\nExit status: ${endings.join(', ')} (enclaim help exit-statuses)`;
}
