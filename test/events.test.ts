/** A handler puts on record only events that its policy names, and a refused name stands nowhere. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LabPolicy, openLab } from './support/lab.ts';
import { refusalInfo } from './support/refusal-info.ts';

const BODY = `
  const said = async (...args) => ctx.log(...args).then(() => 'ok', (error) => error.message);
  return { words: [await said('case-closed', { n: 1 }), await said('case-lost', { n: 1 })] }`;

async function logged(policy: LabPolicy, body: string, request = {}) {
  const lab = await openLab({ policy, handlers: { Sum: body } });
  try {
    const answer = await lab.call('Sum', request);
    return { answer, records: lab.records.map(({ decision, reason }) => [decision, reason]) };
  } finally {
    lab.close();
  }
}

test('an event of the policy is on record by its name, another is refused to the handler and has no record', async () => {
  const { answer, records } = await logged({ events: ['case-closed', 'case-opened'] }, BODY);
  const [{ words } = {}] = answer.messages as { words?: string[] }[];
  assert.deepEqual(words?.[0], 'ok');
  assert.match(words?.[1] ?? '', /handlers log the events that evidence\.events of the policy names/);
  assert.deepEqual(records, [
    ['info', 'handler:case-closed'],
    ['allow', 'ok'],
  ]);
});

test('a policy without events refuses every name, and the refusal that ends a call does not repeat it', async () => {
  const { answer, records } = await logged({ events: [] }, "await ctx.log('case-closed'); return {}");
  assert.deepEqual([answer.status, records], [7, [['deny', 'grant /evidence/events']]]);
  assert.doesNotMatch(JSON.stringify([answer.message, refusalInfo(answer.details ?? assert.fail())]), /case-closed/);
});

test('a call that carries more than public data has an event without its name', async () => {
  const { records } = await logged({ events: ['case-closed'] }, "await ctx.log('case-closed'); return {}", {
    key: 'k',
  });
  assert.deepEqual(records, [
    ['info', 'handler'],
    ['allow', 'ok'],
  ]);
});
