/**
 * The time at which this boot began: the host's clock. A clock is refused if it stands before the
 * build of something that the image is made of.
 */

import { version } from 'node:os';
import { anchorTime, type TimeAnchor } from '@enclaim/runtime/clock';
import { Refusal } from './refusal.ts';

/**
 * Reads the clock, once. Nothing in the guest sets it later, and nothing reads it again, because
 * the runtime counts on from here.
 * @param kernel - What the measured kernel says of its build (uname -v); Debian's ends in the day
 *   of its sources.
 * @throws Refusal `time` if the clock stands before that day, or the kernel names none
 */
export function readTime(kernel: string = version(), now: TimeAnchor = anchorTime()): TimeAnchor {
  const [, built = ''] = /\((\d{4}-\d{2}-\d{2})\)$/.exec(kernel) ?? [];
  const floor = Date.parse(built);
  if (Number.isNaN(floor)) throw new Refusal('time', `the kernel does not say when it was built: ${kernel}`);
  // layer: no time before the kernel was built
  if (now.wall < floor) {
    const said = new Date(now.wall).toISOString();
    throw new Refusal('time', `the host's clock says ${said}, before the kernel was built on ${built}`);
  }
  return now;
}
