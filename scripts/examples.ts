/**
 * `node scripts/examples.ts`: writes the `@example` of every function, class and constant of the
 * published packages' root entry points into `.cache/examples`, where `npm run types` compiles
 * them. It fails if a name has none. Examples of what our own packages share are compiled, too.
 */

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, targetOf } from './imports.ts';

/** Entry points that people import from: each name has an example. */
const ENTRIES: readonly string[] = [
  'policy-schema/src/index.ts',
  'policy-schema/src/claims.ts',
  'attestation/src/index.ts',
  'client/src/index.ts',
  'client/src/log/index.ts',
  'client/src/network.ts',
  'client/src/offline.ts',
  'client/src/proof.ts',
  'client/src/proxy/index.ts',
];
/** Entry points of our own packages: what examples they have are compiled, too. */
const INTERNAL: readonly string[] = ['policy-schema/src/admission.ts', 'policy-schema/src/workers.ts'];
const OUT = '.cache/examples';

/** A name of an entry point, as its source declares it. */
export interface Declared {
  readonly name: string;
  readonly file: string;
  /** Code of its examples; none if its comment has none. */
  readonly examples: readonly string[];
}

/** The functions, classes and constants that an entry exports, with their examples. */
export function declaredBy(entry: string, read: (path: string) => string = readSource): Declared[] {
  const exported = [...read(entry).matchAll(/^export \{([^}]*)\} from '([^']+)';$/gms)];
  return exported.flatMap(([, names = '', from = '']) => {
    const values = names.split(',').map((name) => name.trim());
    return values
      .filter((name) => name !== '' && !name.startsWith('type '))
      .flatMap((name) => declaredAs(name, entry, from, read));
  });
}

function declaredAs(name: string, entry: string, from: string, read: (path: string) => string): Declared[] {
  // Names of another package have their example there.
  if (!from.startsWith('.')) return [];
  const file = targetOf(entry, from) ?? entry;
  const source = read(file);
  const at = source.search(new RegExp(`^export (?:async )?(?:function\\*?|class|const) ${name}\\b`, 'm'));
  if (at === -1) return declaredBy(file, read).filter((one) => one.name === name);
  const comment = /\/\*\*(?:(?!\*\/).)*\*\/\n$/s.exec(source.slice(0, at))?.[0] ?? '';
  const plain = comment.replaceAll(/^ \* ?/gm, '');
  const examples = [...plain.matchAll(/^@example\n```ts\n(.*?)^```$/gms)].map(([, code = '']) => code);
  return [{ name, file, examples }];
}

function readSource(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** Writes a file only if it differs, so that what depends on it is not compiled again. */
function writeChanged(path: string, content: string): void {
  try {
    if (readFileSync(path, 'utf8') === content) return;
  } catch {
    // It is not there yet.
  }
  writeFileSync(path, content);
}

if (import.meta.main) {
  const folder = join(root, OUT);
  mkdirSync(folder, { recursive: true });
  const declared = ENTRIES.flatMap((entry) => declaredBy(entry));
  const internal = INTERNAL.flatMap((entry) => declaredBy(entry));
  const wanted = new Map<string, string>(
    [...declared, ...internal].flatMap(({ name, file, examples }) =>
      examples.map((code, nth) => [`${name}-${nth}.ts`, `// of ${file}\n${code}export {};\n`] as const),
    ),
  );
  for (const file of readdirSync(folder)) if (!wanted.has(file)) rmSync(join(folder, file));
  for (const [file, content] of wanted) writeChanged(join(folder, file), content);
  const without = declared.filter(({ examples }) => examples.length === 0);
  for (const { name, file } of without) console.error(`${file}: ${name} has no @example`);
  if (without.length > 0) process.exitCode = 1;
}
