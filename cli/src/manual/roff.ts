/** The manual page enclaim(1), made from the tree of commands, in man(7). */

import type { Command } from 'commander';
import { CALL_LIMITS } from '../call-limits.ts';
import { EXIT, EXIT_MEANS } from '../exit-status.ts';
import type { Note } from './notes.ts';
import { endingsOf, type Page, pagesOf, type Row } from './pages.ts';
import { shapeText } from './shape.ts';

const ENVIRONMENT: readonly Row[] = [
  { word: 'NO_COLOR', about: 'if set, no output has colours; a file or a pipe never has any' },
  {
    word: 'https_proxy, all_proxy, no_proxy',
    about: 'the HTTP proxy that connections go through, and those that do not',
  },
  { word: 'ENCLAIM_ARCHIVE', about: 'an archive of locked inputs, by content: a folder or an https address' },
  { word: 'ENCLAIM_CACHE', about: 'the folder that keeps what was fetched' },
];

/** The page as roff. It has a version and no date, so that one source gives the same bytes. */
export function manualPage(program: Command, version: string): string {
  const statuses = Object.entries(EXIT).map(([name, status]) => ({
    word: `${status} ${name}`,
    about: EXIT_MEANS[name as keyof typeof EXIT].replaceAll('`', ''),
  }));
  const lines = [
    `.TH ENCLAIM 1 "" "enclaim ${text(version)}"`,
    '.SH NAME',
    `enclaim \\- ${text(lowered(program.description()))}`,
    '.SH SYNOPSIS',
    '.B enclaim',
    '.I command',
    '[options] [arguments]',
    '.SH COMMANDS',
    ...pagesOf(program).flatMap(commandLines),
    '.SH EXIT STATUS',
    ...rows(statuses),
    '.SH ENVIRONMENT',
    ...rows(ENVIRONMENT),
    '.SH LIMITS',
    ...verbatim(CALL_LIMITS.trim()),
  ];
  return `${lines.join('\n')}\n`;
}

function commandLines({ name, usage, about, note, ...page }: Page): string[] {
  const endings = endingsOf(note).map(({ status, name: word }) => `${status} (${word})`);
  return [
    `.SS enclaim ${text(name)}`,
    ...verbatim(usage),
    '.PP',
    line(`${about.slice(0, 1).toUpperCase()}${about.slice(1)}.`),
    ...rows([...page.arguments, ...page.options]),
    '.PP',
    line(`Ends with ${endings.join(', ')}.`),
    ...jsonLines(note),
    '.PP',
    'Example:',
    '.PP',
    ...verbatim(note.example),
  ];
}

function jsonLines({ json, jsonElse, jsonPage, always }: Note): string[] {
  const prints = always === true ? 'It prints' : '--json prints';
  const more = jsonElse === undefined ? [] : ['.PP', line(jsonElse)];
  if (json !== undefined) return ['.PP', line(`${prints}:`), '.PP', ...verbatim(shapeText(json)), ...more];
  return jsonPage === undefined ? [] : [line(`${prints} JSON, described in ${jsonPage}.`), ...more];
}

function rows(list: readonly Row[]): string[] {
  return list.flatMap(({ word, about }) => ['.TP', `.B ${text(word)}`, line(about === '' ? '\\&' : about)]);
}

/** A block as it stands, set in. */
function verbatim(block: string): string[] {
  return ['.in +4n', '.nf', ...block.split('\n').map(line), '.fi', '.in'];
}

/** A line of text, which must not begin like a request. */
function line(content: string): string {
  const made = text(content);
  return /^[.']/.test(made) ? `\\&${made}` : made;
}

/** Text in which roff reads nothing. Hyphens stay such as can be copied, and quotes straight. */
function text(content: string): string {
  return content
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
    .replaceAll('"', '\\(dq')
    .replaceAll('…', '\\&...')
    .replaceAll('’', '\\(aq')
    .replaceAll('→', '\\->');
}

function lowered(content: string): string {
  return `${content.slice(0, 1).toLowerCase()}${content.slice(1)}`.replace(/\.$/, '');
}
