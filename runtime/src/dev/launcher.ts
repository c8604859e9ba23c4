/**
 * Runs a program that cannot make an io_uring. Operations of an io_uring are no system calls, so no
 * filter of calls sees them. libuv makes one at start if the kernel allows it. The image's kernel
 * forbids it (`kernel.io_uring_disabled`).
 */

import { dlopen, getRawPointer } from 'node:ffi';
import { restrictSystemCalls } from '../worker/process/seccomp.ts';

const IO_URING_SETUP = 425;
const F_SETFD = 2;

restrictSystemCalls({ allow: [], fail: [IO_URING_SETUP], otherwise: 'allow' });
const words = process.argv.slice(2).map((word) => Buffer.from(`${word}\0`));
const argv = Buffer.alloc((words.length + 1) * 8);
for (const [at, word] of words.entries()) argv.writeBigUInt64LE(getRawPointer(word), at * 8);
const { execv, fcntl } = dlopen('libc.so.6', {
  execv: { arguments: ['buffer', 'buffer'], return: 'int32' },
  fcntl: { arguments: ['int32', 'int32', 'int64'], return: 'int32' },
}).functions;
// Node closes its descriptors on exec. The program must keep these.
for (const fd of [0, 1, 2, 3]) fcntl(fd, F_SETFD, 0n);
execv(words[0] ?? Buffer.of(0), argv);
process.exit(127);
