/** The realm of a worker, from outside: made once, hardened, and closed to everything but text. */

import { type Context, compileFunction, constants, createContext, runInContext } from 'node:vm';
import { GLOBALS, type Inside, inside } from '../realm/inside.ts';

/**
 * `import` as an expression, wherever it may stand: Node's answer to it is an error of the outside, whose constructors lead
 * out. What may stand between it and its parenthesis is white space and a comment, also one of HTML's two kinds, which
 * scripts still have. A keyword cannot be written with escapes, nothing is compiled later, and what is no such expression
 * may be reworded.
 */
const IMPORT = /\bimport\s*[(./<-]/;

/** A realm with a bundle. */
export type Realm = Pick<Inside, 'receive' | 'prepare' | 'take'>;

/** How a realm is opened where its handlers' author looks on. */
export interface RealmOptions {
  /** Told of what the bundle threw: an object of the inside, which nobody in the VM looks at. */
  readonly threw?: (thrown: unknown) => void;
  /** Whether errors have stacks and there is a console, which are read by `notes`. Never in the VM. */
  readonly author?: true;
}

/**
 * Makes the realm for a bundle.
 * @throws Error where the bundle does not evaluate, or lacks a handler for one of `methods`
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
  // Strict, so that `arguments.callee.caller` in a bundle is null and not a function that all calls share.
  const globals = author ? [...GLOBALS, 'console'] : GLOBALS;
  const evaluated = `'use strict'; (${inside})(${author ?? ''})`;
  const { load, ...realm } = runInContext(evaluated, context, { filename: 'enclaim:realm' }) as Inside;
  // Compiled as the body of a function: nothing in the text can end it, so nothing can be declared outside an instance.
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
