/**
 * Runs a worker's program so that it cannot make an io_uring, and ends with the process that
 * started it.
 *
 * Operations of an io_uring are no system calls, so no filter of calls sees them. libuv makes one
 * at start if the kernel allows it. The image's kernel forbids it (`kernel.io_uring_disabled`).
 *
 * **Bound**: a handler that spins never notices that its socket was closed. Without the kernel's
 * signal it would go on for ever once the process that started it was killed.
 */

import { dlopen, getRawPointer } from 'node:ffi';
import { restrictSystemCalls } from '../worker/process/seccomp.ts';

const IO_URING_SETUP = 425;
const F_SETFD = 2;
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9n;

restrictSystemCalls({ allow: [], fail: [IO_URING_SETUP], otherwise: 'allow' });
const words = process.argv.slice(2).map((word) => Buffer.from(`${word}\0`));
const argv = Buffer.alloc((words.length + 1) * 8);
for (const [at, word] of words.entries()) argv.writeBigUInt64LE(getRawPointer(word), at * 8);
const { execv, fcntl, prctl } = dlopen('libc.so.6', {
  execv: { arguments: ['buffer', 'buffer'], return: 'int32' },
  fcntl: { arguments: ['int32', 'int32', 'int64'], return: 'int32' },
  prctl: { arguments: ['int32', 'uint64', 'uint64', 'uint64', 'uint64'], return: 'int32' },
}).functions;
// The kernel keeps it across exec. A parent that was gone before has closed the worker's socket.
if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0n, 0n, 0n) !== 0) process.exit(127);
// Node closes its descriptors on exec. The program must keep these.
for (const fd of [0, 1, 2, 3]) fcntl(fd, F_SETFD, 0n);
execv(words[0] ?? Buffer.of(0), argv);
process.exit(127);
