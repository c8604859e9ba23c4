/** A handler lists records by the fields that the policy declares, and by nothing else; its own changes are among them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Lab, openLab } from './support/lab.ts';

/** What `Sum` does, by the key of its request: an expression whose keys it answers with. */
function lab(acts: Readonly<Record<string, string>>): Promise<Lab> {
  const cases = Object.entries(acts).map(([key, act]) => `if (request.key === '${key}') { ${act} }`);
  return openLab({
    handlers: { Sum: `const { open } = ctx.store; ${cases.join('\n')} return {}` },
    policy: { indexed: true },
  });
}

async function asked(of: Lab, key: string): Promise<unknown> {
  const { status, messages } = await of.call('Sum', { key });
  return status === 0 ? ((messages[0] as { words?: string[] }).words ?? []) : status;
}

test('records are found by a value of one field, by pages and in order, whoever stored them', async () => {
  const of = await lab({
    prepare: `await open.put('b', { key: 'red', count: 1 }); await open.put('a', { key: 'red', count: '2' });
      await open.put('c', { key: 'blue', count: 1 }); await open.put('ab', { key: 'red' });`,
    red: "return { words: await open.list({ where: { key: 'red' } }) };",
    page: "return { words: await open.list({ where: { key: 'red' }, after: 'a', limit: 1 }) };",
    prefix: "return { words: await open.list({ where: { key: 'red' }, prefix: 'a' }) };",
    number: "return { words: await open.list({ where: { count: '1' } }) };",
    zero: 'return { words: await open.list({ where: { count: 0 } }) };',
    none: "return { words: await open.list({ where: { key: 'RED' } }) };",
    all: 'return { words: await open.list() };',
  });
  await of.call('Sum', { key: 'prepare' });
  assert.deepEqual(await asked(of, 'red'), ['a', 'ab', 'b']);
  assert.deepEqual(await asked(of, 'page'), ['ab']);
  assert.deepEqual(await asked(of, 'prefix'), ['a', 'ab']);
  assert.deepEqual(await asked(of, 'number'), ['b', 'c']);
  assert.deepEqual(await asked(of, 'zero'), ['ab']);
  assert.deepEqual(await asked(of, 'none'), []);
  assert.deepEqual(await asked(of, 'all'), ['a', 'ab', 'b', 'c']);
  of.close();
});

test('a call finds what it has itself changed, which others find once it has ended well', async () => {
  const own = `await open.put('a', { key: 'blue' }); await open.put('d', { key: 'red' }); await open.delete('b');
    const words = [...await open.list({ where: { key: 'red' } }), '|', ...await open.list({ where: { key: 'red' }, limit: 1 })];`;
  const of = await lab({
    prepare: "for (const key of ['a', 'b', 'c']) await open.put(key, { key: 'red' });",
    throws: `${own} throw new StatusError('ABORTED', words.join());`,
    changes: `${own} return { words };`,
    red: "return { words: await open.list({ where: { key: 'red' } }) };",
    conflict: `const { version } = await open.read('c'); await open.put('c', { key: 'blue' }, { ifVersion: version });
      await open.put('c', { key: 'blue' }, { ifVersion: version });`,
  });
  await of.call('Sum', { key: 'prepare' });
  assert.equal((await of.call('Sum', { key: 'throws' })).message, 'c,d,|,c');
  assert.deepEqual(await asked(of, 'red'), ['a', 'b', 'c']);
  assert.equal((await of.call('Sum', { key: 'conflict' })).status, 10);
  assert.deepEqual(await asked(of, 'changes'), ['c', 'd', '|', 'c']);
  assert.deepEqual(await asked(of, 'red'), ['c', 'd']);
  of.close();
});

test('a search without an index, and a record that is no message, are refused by name', async () => {
  const said = (act: string): string =>
    `try { ${act} } catch (error) { return { words: [error.code ?? error.name, error.message] } }`;
  const of = await lab({
    field: said("await open.list({ where: { word: 'x' } })"),
    two: said("await open.list({ where: { key: 'x', count: 1 } })"),
    unfilled: said('await open.list({ where: { key: undefined } })'),
    undefined: said('await open.list({ where: undefined })'),
    value: said("await open.list({ where: { count: 'x' } })"),
    record: said("await open.put('k', { nothing: 1 })"),
    all: 'return { words: await open.list() };',
  });
  const by = ['grant', 'open is listed by one of count, key'];
  assert.deepEqual(await asked(of, 'field'), by);
  assert.deepEqual(await asked(of, 'two'), by);
  assert.deepEqual(await asked(of, 'unfilled'), by);
  assert.deepEqual(await asked(of, 'undefined'), ['TypeError', 'where has the field whose value is sought']);
  assert.deepEqual(await asked(of, 'value'), ['grant', 'open is listed by a value of count, and this is none']);
  assert.deepEqual(await asked(of, 'record'), ['worker', 'records of open are messages lab.v1.Ack, and this is none']);
  assert.deepEqual(await asked(of, 'all'), []);
  of.close();
  const plain = await openLab({
    handlers: { Sum: said("await ctx.store.open.list({ where: { key: 'x' } })") },
  });
  assert.deepEqual(await asked(plain, 'x'), ['grant', 'open is listed by no field']);
  plain.close();
});
