/** `enclaim proxy`: plain gRPC on loopback in, attested gRPC out, for clients in any language. */

import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckedReceipt, receiptFile } from '@enclaim/client';
import { type ListenOptions, startProxy } from '@enclaim/client/proxy';
import type { Command } from 'commander';
import { CALL_LIMITS } from './call-limits.ts';
import { collect, readDemands, readNewerThan, readPolicies } from './input.ts';
import { readReferences } from './references-file.ts';
import { UsageError } from './usage-error.ts';
import { printVerdict } from './verdict-table.ts';

interface Options {
  readonly references: string;
  readonly referencesKey?: string;
  readonly deployment: string[];
  readonly newerThan?: string;
  readonly require: string[];
  readonly policyChain: string[];
  readonly listen: string;
  readonly timeout: string;
  readonly saveReceipts?: string;
  readonly quiet?: true;
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('proxy')
    .description('verify a server, then pass calls of plain gRPC clients on this machine to it')
    .argument('<target>', 'HOST:PORT')
    .requiredOption('--references <file>', 'reference values and trust anchors (enclaim references)')
    .option('--references-key <pem>', 'public key that must have signed them, where they are a signed CoRIM')
    .option('--newer-than <time>', 'the boot must have begun then or later: RFC 3339, or P7D for a week ago')
    .option('--deployment <file>', "a deployment that the references' owner signed; repeatable", collect, [])
    .option('--require <demand>', 'what the attested policy must hold; repeatable', collect, [])
    .option(
      '--policy-chain <file>',
      'a policy that --require neverWeakerThan names, to compare with; repeatable',
      collect,
      [],
    )
    .option(
      '--listen <address>',
      'HOST:PORT on loopback, port 0 for a free one; or unix:PATH for this user alone',
      '127.0.0.1:0',
    )
    .option('--timeout <seconds>', 'for the first verdict', '60')
    .option('--save-receipts <folder>', 'keep the receipt of each call there, with its messages and the evidence')
    .option('--quiet', 'print no verdict that is ok')
    .option('--json', 'the address as JSON')
    .addHelpText('after', CALL_LIMITS)
    .action(proxy);
}

async function proxy(target: string, options: Options): Promise<void> {
  const timeout = Number(options.timeout) * 1000;
  if (!(timeout > 0)) throw new UsageError(`--timeout ${options.timeout}: expected seconds`);
  const keep = options.saveReceipts === undefined ? {} : { onReceipt: receiptKeeper(options.saveReceipts) };
  const running = await startProxy(target, {
    ...keep,
    references: await readReferences(options),
    demands: readDemands(options.require),
    timeout,
    newerThan: readNewerThan(options.newerThan),
    known: await readPolicies(options.policyChain),
    listen: listenOf(options.listen),
    // Every connection is told of, the first and those after it: another boot is another verdict.
    onAttested: ({ verdict }) => (options.quiet ? undefined : printVerdict(verdict)),
  });
  console.log(options.json ? JSON.stringify({ address: running.address }) : running.address);
  await toldToEnd();
  // The first signal lets calls end, the second does not wait for them.
  await Promise.race([running.drain(), toldToEnd()]);
  await running.close();
}

/**
 * Keeps receipts in a folder, for this user alone, because the messages are in them. It throws if
 * one cannot be kept, so that its call ends in DATA_LOSS: no answer is passed on without the
 * receipt that was asked for.
 */
function receiptKeeper(folder: string): (receipt: CheckedReceipt) => void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new UsageError(`--save-receipts ${folder}: ${(cause as Error).message}`, { cause });
  }
  return (receipt) => {
    const { boot, sequence } = receipt.body;
    const [, digest = ''] = boot.split(':');
    const file = join(folder, `${digest.slice(0, 16)}-${sequence}.enclaim-receipt`);
    writeFileSync(`${file}.tmp`, receiptFile(receipt), { mode: 0o600 });
    renameSync(`${file}.tmp`, file);
  };
}

function toldToEnd(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
}

function listenOf(text: string): ListenOptions {
  const [, socket] = /^unix:(.+)$/.exec(text) ?? [];
  if (socket !== undefined) return { socket };
  const [, host, port] = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined) throw new UsageError(`--listen ${text}: expected HOST:PORT or unix:PATH`);
  return { host, port: Number(port) };
}
