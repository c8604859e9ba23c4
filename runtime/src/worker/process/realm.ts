/** The realm of a worker, from outside: made once, hardened, and closed to everything but text. */

import { type Context, compileFunction, constants, createContext, runInContext } from 'node:vm';
import type { Inside } from '../realm/bridge.ts';
import { GLOBALS, realmText } from '../realm/inside.ts';

/**
 * Matches `import` as an expression, wherever it may stand. Node answers such an expression with an
 * error of the outer realm, whose constructors lead out.
 *
 * Between `import` and its parenthesis there may be white space and a comment, including HTML's two
 * kinds, which scripts still have. A keyword cannot be written with escapes, and no code is
 * compiled later. A text that matches and is no such expression can be reworded by its author.
 */
const IMPORT = /\bimport\s*[(./<-]/;

/** A realm with a bundle. */
export type Realm = Pick<Inside, 'receive' | 'prepare' | 'take'>;

/** Options of a realm whose handlers' author looks on. */
export interface RealmOptions {
  /**
   * Receives the value that the bundle threw: an object of the inner realm. Nothing in the VM reads
   * it.
   */
  readonly threw?: (thrown: unknown) => void;
  /** Whether errors have stacks and there is a console; `notes` returns both. Never in the VM. */
  readonly author?: true;
}

/**
 * Makes the realm for a bundle.
 *
 * @throws Error if the bundle does not evaluate, or lacks a handler for one of `methods`
 */
export function openRealm(
  code: string,
  methods: readonly string[],
  { threw, author }: RealmOptions = {},
): Realm & Pick<Inside, 'names' | 'notes'> {
  if (IMPORT.test(code)) throw new Error('the bundle has an import expression');
  const context: Context = createContext(constants.DONT_CONTEXTIFY, {
    codeGeneration: { strings: false, wasm: false },
  });
  // Strict mode makes `arguments.callee.caller` in a bundle null. In sloppy mode it would be a
  // function that all calls share.
  const globals = author ? [...GLOBALS, 'console'] : GLOBALS;
  const evaluated = `'use strict'; ${realmText(author)}`;
  const { load, ...realm } = runInContext(evaluated, context, { filename: 'enclaim:realm' }) as Inside;
  // Compiled as the body of a function. Its text cannot end that body, so it declares nothing
  // outside an instance.
  const bundle = compileFunction(code, ['module', 'exports', ...globals], {
    parsingContext: context,
    filename: 'app:handlers',
  });
  let missing: unknown;
  try {
    missing = load(bundle as never, JSON.stringify(globals), JSON.stringify(methods));
  } catch (thrown) {
    threw?.(thrown);
    throw new Error('the bundle threw');
  }
  if (missing !== '') throw new Error(`no handler for ${missing}`);
  return realm;
}
