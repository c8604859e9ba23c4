/** The filter of system calls, run by a small interpreter of its BPF. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seccompProgram, WORKER_FILTER } from '../../src/worker/process/seccomp.ts';

const X86_64 = 0xc000003e;
const I386 = 0x40000003;
const [KILL, FAIL, ALLOW] = [0x80000000, 0x0005000d, 0x7fff0000];

/** What a program answers a call (`struct seccomp_data`: number at 0, architecture at 4). */
function answer(program: Uint8Array, number: number, architecture = X86_64): number {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  let held = 0;
  for (let at = 0; at < program.length; at += 8) {
    const value = view.getUint32(at + 4, true);
    const jump = (taken: boolean): void => {
      at += 8 * view.getUint8(at + (taken ? 2 : 3));
    };
    switch (view.getUint16(at, true)) {
      case 0x20:
        held = value === 0 ? number : architecture;
        break;
      case 0x15:
        jump(held === value);
        break;
      case 0x35:
        jump(held >= value);
        break;
      case 0x06:
        return value;
      default:
        assert.fail(`instruction ${view.getUint16(at, true)}`);
    }
  }
  return assert.fail('the program has no end');
}

test('every call has the answer of the table, and no other is let through', () => {
  const program = seccompProgram(WORKER_FILTER);
  for (let number = 0; number < 1024; number++) {
    const expected = WORKER_FILTER.allow.includes(number) ? ALLOW : WORKER_FILTER.fail.includes(number) ? FAIL : KILL;
    assert.equal(answer(program, number), expected, `call ${number}`);
  }
});

test('calls of another architecture, or of the x32 ABI, end the process', () => {
  const program = seccompProgram(WORKER_FILTER);
  for (const number of [...WORKER_FILTER.allow, ...WORKER_FILTER.fail]) {
    assert.equal(answer(program, number, I386), KILL);
    assert.equal(answer(program, number + 0x40000000), KILL);
  }
});

test('a filter that lets other calls through still refuses what it names', () => {
  const program = seccompProgram({ allow: [], fail: [425], otherwise: 'allow' });
  assert.deepEqual([answer(program, 425), answer(program, 0), answer(program, 0, I386)], [FAIL, ALLOW, KILL]);
});
