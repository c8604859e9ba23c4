/** JSON that a command printed, of the shape that the manual says. */

import assert from 'node:assert/strict';
import { NOTES } from '../src/manual/notes.ts';
import { mismatch } from '../src/manual/shape.ts';

/** @param name words of the command, after `enclaim` */
export function jsonOf(name: string, text: string): ReturnType<typeof JSON.parse> {
  const shape = NOTES[name]?.json ?? assert.fail(`${name} has no JSON in the manual`);
  const value: unknown = JSON.parse(text);
  assert.equal(mismatch(shape, value), null, name);
  return value;
}
