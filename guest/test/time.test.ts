/** A clock before the image is refused; a kernel without a date gives no floor, so it is refused as well. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTime } from '../src/time.ts';

const KERNEL = '#1 SMP PREEMPT_DYNAMIC Debian 6.12.95-1~bpo12+1 (2026-07-05)';
const at = (wall: string) => ({ wall: Date.parse(wall), monotonic: 0 });

test('takes a clock that stands behind the build', () => {
  for (const wall of ['2026-07-05T00:00:00.000Z', '2026-11-20T10:00:00.000Z', '2099-12-31T23:59:59.999Z'])
    assert.deepEqual(readTime(KERNEL, at(wall)), at(wall));
});

for (const wall of ['2026-07-04T23:59:59.999Z', '1970-01-01T00:00:00.000Z'])
  test(`refuses ${wall}`, () => {
    assert.throws(() => readTime(KERNEL, at(wall)), { name: 'Refusal', code: 'time', message: /before the kernel/ });
  });

for (const kernel of ['#1 SMP', '', '(2026-07-05) #1', '#1 (2026-7-5)', '#1 (2026-13-45)'])
  test(`refuses a kernel that says "${kernel}"`, () => {
    assert.throws(() => readTime(kernel, at('2026-11-20T10:00:00.000Z')), { name: 'Refusal', code: 'time' });
  });
