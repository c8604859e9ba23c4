/** `enclaim proxy`: plain gRPC on loopback in, attested gRPC out, for clients in any language. */

import { startProxy } from '@enclaim/client';
import type { Command } from 'commander';
import { collect, readDemands, readReferences } from './input.ts';
import { UsageError } from './usage-error.ts';
import { printVerdict } from './verdict-table.ts';

interface Options {
  readonly references: string;
  readonly deployment: string[];
  readonly require: string[];
  readonly listen: string;
  readonly timeout: string;
}

export function register(program: Command): void {
  program
    .command('proxy')
    .description('Verify a server, then pass calls of plain gRPC clients on this machine to it')
    .argument('<target>', 'HOST:PORT')
    .requiredOption('--references <file>', 'reference values and trust anchors (enclaim references)')
    .option('--deployment <file>', "a deployment that the references' owner signed; repeatable", collect, [])
    .option('--require <demand>', 'what the attested policy must hold; repeatable', collect, [])
    .option('--listen <host:port>', 'a loopback address; port 0 picks a free one', '127.0.0.1:0')
    .option('--timeout <seconds>', 'for the first verdict', '60')
    .action(proxy);
}

async function proxy(target: string, options: Options): Promise<void> {
  const timeout = Number(options.timeout) * 1000;
  if (!(timeout > 0)) throw new UsageError(`--timeout ${options.timeout}: expected seconds`);
  const [, host = '', port] = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(options.listen) ?? [];
  if (port === undefined) throw new UsageError(`--listen ${options.listen}: expected HOST:PORT`);
  const running = await startProxy(target, {
    references: await readReferences(options.references, options.deployment),
    demands: readDemands(options.require),
    timeout,
    listen: { host, port: Number(port) },
    // Every connection is told of, the first and those after it: another boot is another verdict.
    onAttested: ({ verdict }) => printVerdict(verdict),
  });
  console.log(running.address);
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
  await running.close();
}
