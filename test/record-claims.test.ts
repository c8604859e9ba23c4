/** Every record names all claims of the policy that its decision serves, and no other. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LabPolicy, openLab } from './support/lab.ts';

const POLICY: LabPolicy = {
  claims: [
    { id: 'here', kind: 'local-first', statement: 'Work is done here.', controls: [] },
    { id: 'leaks', kind: 'no-leakage', statement: 'Nothing leaks.', controls: [] },
    { id: 'room', kind: 'bounded-resources', statement: 'Bounded.', controls: [] },
    { id: 'same', kind: 'audited-system', statement: 'The same.', controls: [] },
  ],
  governance: {
    sovereignty: { minScore: 0, maxExternalCalls: 0 },
    leaks: { detectors: ['email', 'iban', 'payment-card', 'credential'], on: ['egress', 'response', 'log'] },
    resources: { memory: '64MiB', cpu: '10s', wall: '30s', inFlight: 8, pressure: { memory: 80, cpu: 80 } },
  },
};

const BODY = `
  if (request.load) await ctx.log("found", { mail: "jane@clinic.example" }).catch(() => {});
  if (request.key === "leak") return { word: "jane@clinic.example" };
  if (request.key === "flow") return { word: (await ctx.store.cases.get("p")).text };
  if (request.key === "throw") throw new Error("x");
  return {}`;
const ANSWERED = ['closed', 'here', 'leaks', 'room'];

test('an answer, a stream, refusals that a call survives or ends by, and an error', async () => {
  const lab = await openLab({
    policy: POLICY,
    handlers: { Put: 'await ctx.store.cases.put("p", request); return {}', Sum: BODY, Watch: 'yield {}' },
  });
  try {
    await lab.call('Put', { text: 'HIV' });
    // Public alone, so that the refusal of the event has a record of its own.
    await lab.call('Sum', { load: 'AAAA' });
    for (const key of ['leak', 'flow', 'throw']) await lab.call('Sum', { key });
    await lab.call('Watch', {});
    assert.deepEqual(
      lab.records.map(({ decision, reason, claims }) => [decision, reason.split(' ')[0], claims]),
      [
        ['allow', 'ok', ANSWERED],
        ['deny', 'leak', ['leaks']], // the event
        ['allow', 'ok', ANSWERED], // of the call that survives it
        ['deny', 'leak', ['leaks']],
        ['deny', 'flow', ['closed']],
        ['error', 'worker', []],
        ['allow', 'stream', ['closed', 'leaks']],
        ['allow', 'ok', ANSWERED],
      ],
    );
  } finally {
    lab.close();
  }
});
