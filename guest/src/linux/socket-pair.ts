/** A connected pair of unix stream sockets. */
import { check, libc } from './libc.ts';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;

/**
 * Two connected unix stream sockets, closed on exec: a child gets one only where it is named in the child's stdio.
 *
 * @throws LinuxError.
 */
export function socketPair(): [number, number] {
  const pair = Buffer.alloc(8);
  check('socketpair', libc().socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
  return [pair.readInt32LE(0), pair.readInt32LE(4)];
}
