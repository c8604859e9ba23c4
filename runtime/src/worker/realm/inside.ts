/**
 * The inside of a worker's realm: one text, made of the bridge and the parts that it calls.
 *
 * No object of the outer realm is handed in, not even a function. Such an object brings the
 * constructors of its own realm, and any call may throw an error of that realm. The outside passes
 * text in and fetches text after each turn of the loop.
 */

import { bridge } from './bridge.ts';
import { partsText } from './parts.ts';

/** Globals that each bundle instance has of its own, besides `module` and `exports`. */
export const GLOBALS: readonly string[] = [
  'globalThis',
  'self',
  'global',
  'Date',
  'Math',
  'crypto',
  'queueMicrotask',
  'TextEncoder',
  'TextDecoder',
  'atob',
  'btoa',
];

/**
 * The expression that hardens the realm it is evaluated in. Its value is an `Inside`
 * (bridge.ts). It refers to nothing around it, and is to be evaluated in strict mode.
 *
 * @param author whether the author runs the handlers (`enclaim dev`), never in the VM
 */
export function realmText(author?: true): string {
  return `(${bridge})(${partsText()}${author ? ', true' : ''})`;
}
