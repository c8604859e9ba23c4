/** `enclaim verify`: saved evidence and receipts, offline. */

import { parseReceiptFile, verifyReceiptFile, verifySaved } from '@enclaim/client';
import type { Command } from 'commander';
import { collect, readDemands, readInput, readReferences } from './input.ts';
import { printVerdict } from './verdict-table.ts';

export function register(program: Command): void {
  program
    .command('verify')
    .description('Verify saved evidence or a receipt file, offline')
    .argument('<file>', 'evidence, or .enclaim-receipt')
    .requiredOption('--references <file>', 'reference values and trust anchors')
    .option('--require <demand>', 'what the attested policy must hold; repeatable', collect, [])
    .option('--json', 'print the verdict as JSON on stdout')
    .action(verify);
}

async function verify(path: string, options: { references: string; require: string[]; json?: true }): Promise<void> {
  const references = await readReferences(options.references);
  const demands = readDemands(options.require);
  const content = await readInput(path);
  const isReceipt = content[0] === '{'.charCodeAt(0);
  const { verdict, body } = isReceipt
    ? await verifyReceiptFile(parseReceiptFile(content), { references, demands })
    : { ...(await verifySaved(content, { references, demands })), body: undefined };
  if (options.json)
    console.log(JSON.stringify(body === undefined ? { verdict } : { verdict, receipt: body }, undefined, 2));
  else {
    printVerdict(verdict);
    if (body !== undefined)
      console.error(`receipt: ok  ${body.method}, number ${body.sequence}, ${body.time}, record ${body.record}`);
  }
  if (!verdict.ok) process.exitCode = 1;
}
