/** Runs commands about policies in folders of their own, for the tests beside this file. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, mock } from 'node:test';
import ansis from 'ansis';
import { Command } from 'commander';
import { register as check } from '../../src/policy/check.ts';
import { register as diff } from '../../src/policy/diff.ts';
import { register as init } from '../../src/policy/init.ts';
import { register as policy } from '../../src/policy/policy.ts';
import { register as runTests } from '../../src/policy/test.ts';

/** The folder of the example that most tests copy. */
export const CLINIC: string = join(import.meta.dirname, '../../../examples/clinic');
const folders: string[] = [];

/** An edit of the clinic: a collection's name is misspelt. */
export const MISSPELT = ['policy.yaml', 'stores: [cases]', 'stores: [caes]'] as const;
/** An edit of the clinic: a field carries more than its method's rule accepts. */
export const TOO_MUCH = [
  'proto/clinic/v1/intake.proto',
  '[(enclaim.data) = "personal.contact.email"]',
  '[(enclaim.data) = "staff.identity"]',
] as const;

after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** An empty folder, removed after the tests. */
export function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'enclaim-cli-'));
  folders.push(made);
  return made;
}

/** A copy of the clinic, some of whose text is replaced. */
export function clinic(...edits: readonly (readonly [file: string, from: string, to: string])[]): string {
  const made = folder();
  cpSync(CLINIC, made, { recursive: true });
  for (const [file, from, to] of edits) {
    const path = join(made, file);
    const text = readFileSync(path, 'utf8');
    assert.ok(text.includes(from), `${file} has ${from}`);
    writeFileSync(path, text.replace(from, to));
  }
  return made;
}

/** What a command printed, and the status of its process. */
export interface Ran {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command in a folder, in this process: what it prints, and the status that the process would end with. */
export async function enclaim(cwd: string, ...args: readonly string[]): Promise<Ran> {
  const program = new Command('enclaim')
    .version('1.2.3')
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  for (const register of [init, check, diff, runTests, policy]) register(program);
  const printed: string[] = [];
  const home = process.cwd();
  const log = mock.method(console, 'log', (text: string) => printed.push(`${text}\n`));
  try {
    process.chdir(cwd);
    await program.parseAsync([...args], { from: 'user' });
    return { status: Number(process.exitCode ?? 0), out: ansis.strip(printed.join('')), err: '' };
  } catch (error) {
    const { name, message } = error as Error;
    return { status: name === 'UsageError' ? 2 : 1, out: '', err: message };
  } finally {
    process.exitCode = 0;
    process.chdir(home);
    log.mock.restore();
  }
}

/** Runs git in a folder. */
export function git(cwd: string, ...args: readonly string[]): void {
  execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example', ...args], { cwd, stdio: 'pipe' });
}
