/**
 * `node scripts/page.ts FILE`: the auditor's page, one HTML file that needs neither server nor
 * network.
 */

import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build, type Plugin } from 'esbuild';

const folder = join(import.meta.dirname, '../client/page');

/** Messages of the schema library in fifty languages: the page speaks one. */
const oneLanguage: Plugin = {
  name: 'one-language',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\/zod\/v4\/locales\/[\w-]+\.js$/ }, ({ path }) =>
      /\/(en|index)\.js$/.test(path) ? undefined : { contents: 'export default () => ({})' },
    ),
};

/** The page's HTML. Its content security policy admits exactly its own script and style. */
export async function buildPage(): Promise<string> {
  const [html, style, script] = await Promise.all([
    readFile(join(folder, 'page.html'), 'utf8'),
    readFile(join(folder, 'page.css'), 'utf8'),
    bundle(),
  ]);
  const policy = [
    "default-src 'none'",
    `script-src '${sourceHash(script)}'`,
    `style-src '${sourceHash(style)}'`,
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
  ].join('; ');
  const parts: Readonly<Record<string, string>> = { policy, style, script };
  return html.replace(/(?:\/\*)?@(policy|style|script)@(?:\*\/)?/g, (_all, name: string) => parts[name] ?? '');
}

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(folder, 'page.ts')],
    bundle: true,
    write: false,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2024',
    legalComments: 'none',
    plugins: [oneLanguage],
  });
  // The script stands within HTML, so the one sequence that would end it there is written in
  // another way.
  return (outputFiles[0]?.text ?? '').replaceAll('</script', '<\\/script');
}

function sourceHash(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [file] = process.argv.slice(2);
  if (file === undefined) throw new Error('usage: node scripts/page.ts FILE');
  const html = await buildPage();
  await writeFile(file, html);
  console.log(`${file}: ${html.length} bytes, ${gzipSync(html).length} gzipped`);
}
