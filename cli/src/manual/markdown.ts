/** docs/reference/command-line.md, made from the tree of commands. */

import { basename } from 'node:path';
import type { Command } from 'commander';
import { CALL_LIMITS } from '../call-limits.ts';
import { EXIT, EXIT_MEANS } from '../exit-status.ts';
import type { Note } from './notes.ts';
import { endingsOf, type Page, pagesOf, type Row } from './pages.ts';
import { shapeText } from './shape.ts';

/** The page. */
export function commandReference(program: Command): string {
  const pages = pagesOf(program);
  const contents = pages.map(({ name, about }) => `| [\`${name}\`](#enclaim-${anchor(name)}) | ${cell(about)} |`);
  return `# The command line

For everyone who types \`enclaim\`. Afterwards you know each command with its options, exit statuses, JSON and one example. It rests on
the command's own help: \`npm run generate\` makes this page of it, and \`enclaim.1\`, the manual page that the package installs, is made of the
same. What to do with the commands, in order, is in [a first app](../start/first-app.md) and in
[the command line for clients](../client/command-line.md).

| command | does |
| --- | --- |
${contents.join('\n')}

## Exit statuses

| status | | |
| --- | --- | --- |
${Object.entries(EXIT)
  .map(([name, status]) => `| ${status} | ${name} | ${cell(EXIT_MEANS[name as keyof typeof EXIT])} |`)
  .join('\n')}

Every command that writes a file ends with 4 if its disk has no room. JSON below is written with the types of its members; a member with \`?\`
may be missing, \`*\` stands for members of other names, and \`…\` for more elements of the same shape.

${pages.map(sectionOf).join('\n')}
## Limits of calls

\`\`\`text
${CALL_LIMITS.trim()}
\`\`\`

The rest of them: [limits](limits.md).
`;
}

function sectionOf({ name, usage, about, note, ...page }: Page): string {
  const parts = [
    `## enclaim ${name}\n\n\`${usage}\`\n\n${sentence(about)}\n`,
    tableOf('argument', page.arguments),
    tableOf('option', page.options),
    `Ends with ${endingsOf(note)
      .map(({ status, name: word }) => `${status} (${word})`)
      .join(', ')}.\n`,
    jsonOf(note),
    `\`\`\`sh\n${note.example}\n\`\`\`\n`,
  ];
  return parts.filter((part) => part !== '').join('\n');
}

function jsonOf({ json, jsonElse, jsonPage, always }: Note): string {
  const more = jsonElse === undefined ? '' : `\n${cell(jsonElse)}\n`;
  const prints = always === true ? 'It prints' : '`--json` prints';
  if (json !== undefined) return `${prints}:\n\n\`\`\`text\n${shapeText(json)}\n\`\`\`\n${more}`;
  if (jsonPage === undefined) return '';
  return `${prints} JSON: [${basename(jsonPage, '.md')}](${jsonPage.replace('docs/', '../')}).\n${more}`;
}

function tableOf(what: string, rows: readonly Row[]): string {
  if (rows.length === 0) return '';
  const lines = rows.map(({ word, about }) => `| \`${word.replaceAll('|', '\\|')}\` | ${cell(about)} |`);
  return `| ${what} | |\n| --- | --- |\n${lines.join('\n')}\n`;
}

/** Text in a cell of a table, in which neither a bar nor an angle bracket means anything. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll(/<([^>]*)>/g, '&lt;$1&gt;');
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
}

function anchor(name: string): string {
  return name.replaceAll(' ', '-');
}
