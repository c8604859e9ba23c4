/**
 * A worker's process whose realm was escaped: runs a body with everything that Node has, under the layers that the command
 * line names, and prints what the body answers. `native` in the body makes a system call, as machine code would.
 */

import { writeSync } from 'node:fs';
import { seal } from '../../runtime/src/worker/process/seal.ts';
import { restrictSystemCalls, WORKER_FILTER } from '../../runtime/src/worker/process/seccomp.ts';

const [, , layer, body = ''] = process.argv;
const module = (name: string): unknown => process.getBuiltinModule(name);
let native: unknown;
if (layer !== 'seal' && layer !== 'permission') {
  const { dlopen } = await import('node:ffi');
  const signature = {
    arguments: ['int64', 'int64', 'int64', 'int64', 'int64', 'int64', 'int64'],
    return: 'int64',
  } as const;
  const { syscall } = dlopen('libc.so.6', { syscall: signature }).functions;
  native = (...words: number[]): number =>
    Number(syscall(...([0, 1, 2, 3, 4, 5, 6].map((at) => BigInt(words[at] ?? 0)) as Parameters<typeof syscall>)));
}
process.on('uncaughtException', () => process.exit(1));
if (layer === 'seal') seal();
if (layer === 'seccomp') restrictSystemCalls(WORKER_FILTER);
if (layer === 'permission') for (const scope of ['ffi', 'fs.read'] as const) process.permission?.drop(scope);
const run = new Function('module', 'native', `return (async () => { ${body} })()`);
let answer: unknown;
try {
  answer = await run(module, native);
} catch {
  answer = 'refused';
}
writeSync(1, `answer ${answer}\n`);
process.kill(process.pid, 'SIGKILL');
