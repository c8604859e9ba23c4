/** Each mark of a defence in the sources guards something that can be turned off, and has a name of its own. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../scripts/imports.ts';
import { changed, MarkedSource } from './hostile/marks.ts';
import { allMarks, weakened } from './hostile/weakened.ts';
import { WRITTEN } from './hostile/written.ts';

/** Layers for which code is written. The number falls; a new layer is one that the grammar of marks can turn off. */
const MAX_WRITTEN = 28;

/** What a source is like with one of its marks off, or why there is no such source. */
function off(text: string, name = 'a'): string {
  try {
    const mark = new MarkedSource(text).marks.find((each) => each.name === name);
    return mark === undefined ? 'no mark' : changed(text, [mark.off()]);
  } catch (error) {
    return (error as Error).message;
  }
}

const FORMS: Readonly<Record<string, readonly [source: string, off: string]>> = {
  'an if does not hold': ['// layer: a\nif (x) throw 1;', '// layer: a\nif (false) throw 1;'],
  'an if of several lines': ['// layer: a\nif (\n  x\n)\n  throw 1;', '// layer: a\nif (\n  false\n)\n  throw 1;'],
  'an if that is followed by its mark': ['if (x) f(); // layer: a', 'if (false) f(); // layer: a'],
  'an if with another end': ['// layer: a (off: true)\nif (x) f();', '// layer: a (off: true)\nif (true) f();'],
  'a condition by itself': ['if (y);\nelse if (/* layer: a */ x) f();', 'if (y);\nelse if (/* layer: a */ false) f();'],
  'a statement is left out': ['// layer: a\nf(\n  1,\n);\ng();', '// layer: a\n;\ng();'],
  'a statement behind else': ['if (x) f();\nelse g(); // layer: a', 'if (x) f();\nelse ; // layer: a'],
  'a loop is left out': ['// layer: a\nfor (const x of y) f(x);', '// layer: a\n;'],
  'an operand of and': ['f(x && /* layer: a */ y && z);', 'f(x && /* layer: a */ true && z);'],
  'the first operand of or': ['f(/* layer: a */ x === 1 || y);', 'f(/* layer: a */ false || y);'],
  'a property': ['f({\n  // layer: a\n  x: 1,\n  y,\n});', 'f({\n  // layer: a\n  \n  y,\n});'],
  'a property within a line': ['f({ /* layer: a */ x: 1, y });', 'f({ /* layer: a */  y });'],
  'an element': ["f([\n  'x',\n  // layer: a\n  'y',\n]);", "f([\n  'x',\n  // layer: a\n  \n]);"],
  'a returned value': [
    'function f() {\n// layer: a (off: 0)\nreturn x;\n}',
    'function f() {\n// layer: a (off: 0)\nreturn 0;\n}',
  ],
  'a named value': ['// layer: a (off: x)\nconst y: number = g(x);', '// layer: a (off: x)\nconst y: number = x;'],
  'an argument': ['f(/* layer: a (off: x) */ new M(x));', 'f(/* layer: a (off: x) */ x);'],
  'a condition of a choice': [
    'f(/* layer: a (off: true) */ x ? 1 : 2);',
    'f(/* layer: a (off: true) */ true ? 1 : 2);',
  ],
  'what an arrow does': [
    'f(() => /* layer: a (off: undefined) */ g());',
    'f(() => /* layer: a (off: undefined) */ undefined);',
  ],
  'code of somebody else': [
    '// layer: a (off: g())\nf(x);',
    'a: (off: g()) is neither a literal nor a part of what is guarded',
  ],
  'a name that must have a value': [
    '// layer: a\nconst x = 1;',
    'a: VariableDeclaration cannot be left out; what is it when off?',
  ],
  nothing: ['f();\n// layer: a', 'the mark a guards nothing'],
};

for (const [name, [source, expected]] of Object.entries(FORMS)) {
  test(`off: ${name}`, () => assert.equal(off(source), expected));
}

test('each mark of the sources has its own name, and is a source without its defence', () => {
  const marks = allMarks();
  assert.ok(marks.size > 100, `${marks.size} marks`);
  const written = new Set(Object.entries(WRITTEN).map(([layer, { mark = layer }]) => mark));
  for (const [name, path] of marks) {
    const text = readFileSync(join(root, path), 'utf8');
    const found = new MarkedSource(text).marks.find((mark) => mark.name === name) ?? assert.fail(name);
    if (written.has(name)) continue;
    const weak = changed(text, [found.off()]);
    assert.notEqual(weak, text, name);
    assert.doesNotThrow(() => stripTypeScriptTypes(weak), name);
  }
  for (const name of written) assert.ok(marks.has(name), `no source has the mark ${name}`);
});

test('a layer, a constant or a source that is not there is no weakness', () => {
  const entry = 'runtime/src/frames.ts';
  assert.throws(() => weakened(entry, { off: ['a layer of nothing'] }), /no source has the mark/);
  assert.throws(() => weakened(entry, { off: ['digest on the command line'] }), /does not import guest/);
  assert.throws(() => weakened(entry, { constants: { MAX_NOTHING: 1 } }), /a constant of 0 sources/);
});

test('code is written for fewer and fewer layers', () => {
  assert.equal(Object.keys(WRITTEN).length, MAX_WRITTEN);
});
