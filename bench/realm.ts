/**
 * `node bench/realm.ts`: the cost of a fresh start for each call. Microseconds for a bundle of so
 * many functions.
 */

import { createContext, Script } from 'node:vm';
import { openRealm } from '../runtime/src/worker/process/realm.ts';

const FUNCTIONS = [1, 100, 400, 2000] as const;
const RUNS = 500;

function bundle(functions: number): string {
  const made = Array.from(
    { length: functions },
    (_, at) => `function f${at}(x) { return x ? { at: ${at}, x } : [x]; }`,
  );
  return `${made.join('\n')}\nexports.handlers = { 'a.B/C': async (request) => f0(request) };`;
}

/** Median microseconds of an action. */
function time(action: () => void): number {
  const times = Array.from({ length: RUNS }, () => {
    const at = performance.now();
    action();
    return (performance.now() - at) * 1000;
  });
  return times.sort((a, b) => a - b)[RUNS >> 1] ?? Number.NaN;
}

/** One call in a realm: begun, ended, fetched; its instance is made for it. */
function calls(code: string): () => void {
  const realm = openRealm(code, ['a.B/C']);
  const granted = {
    reads: [],
    stores: [],
    sends: {},
    releases: [],
    time: '2026-01-01T00:00:00.000Z',
    id: '',
    seed: '00'.repeat(32),
  };
  const message = { kind: 'call', call: 0, method: 'a.B/C', streams: {}, ...granted };
  const text = `${JSON.stringify(message)}\t{}`;
  return () => {
    realm.receive(text);
    realm.take();
  };
}

function contexts(code: string): () => void {
  const script = new Script(`(function (module, exports) {${code}\n})`);
  return () => {
    const context = createContext({}, { codeGeneration: { strings: false, wasm: false } });
    const module = { exports: {} };
    script.runInContext(context)(module, module.exports);
  };
}

console.log(`Node ${process.version}, median of ${RUNS}`);
for (const functions of FUNCTIONS) {
  const code = bundle(functions);
  const [instance, context] = [time(calls(code)), time(contexts(code))];
  console.log(
    `${functions} functions: instance and call ${instance.toFixed(0)} µs, vm context per call ${context.toFixed(0)} µs`,
  );
}
process.exit();
