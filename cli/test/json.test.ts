/** Every command that reports does so as JSON, too; the others write files, documents or answers, and are named here. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { formatNoteKey, noteKey, parseNoteKey } from '@enclaim/attestation/tlog';
import { projectRoot, readLock } from '@enclaim/image';
import type { Command } from 'commander';
import { makeProgram } from '../src/program.ts';
import { jsonOf } from './json-of.ts';

const cli = join(projectRoot, 'cli/src/main.ts');

/** Commands whose output is a file, a document that is JSON or a text already, or an answer. */
const WITHOUT = [
  ...['call', 'completion', 'corim read', 'corim sign', 'deployment sign', 'dev', 'gen', 'help'],
  ...['image build', 'image disk', 'image firmware', 'image measure', 'init', 'log proof', 'log receipt'],
  ...['policy digest', 'policy schema', 'policy show', 'policy succession propose', 'policy succession sign'],
  ...['references', 'release add', 'release demand'],
  ...['release init', 'release state', 'state recovery propose', 'state recovery sign', 'statement verify'],
];

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-json-'));
});
after(() => rm(folder, { recursive: true }));

function leavesOf(command: Command, at: string): [string, Command][] {
  return command.commands.flatMap((each) => {
    const name = `${at} ${each.name()}`.trim();
    return each.commands.length > 0 ? leavesOf(each, name) : [[name, each] as [string, Command]];
  });
}

/** The JSON that a command prints, of the shape that its manual says; ends it then. */
async function printed(name: string, ...words: readonly string[]): Promise<ReturnType<typeof jsonOf>> {
  const child = spawn(process.execPath, [cli, ...name.split(' '), ...words, '--json'], {
    cwd: projectRoot,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stderr.on('data', (chunk) => (stderr += chunk));
  for await (const chunk of child.stdout) {
    stdout += chunk;
    if (/^[}\]]$|^\{.*\}$/m.test(stdout)) child.kill('SIGTERM');
  }
  assert.notEqual(stdout, '', `enclaim ${name}: ${stderr}`);
  return jsonOf(name, stdout);
}

test('each command has --json, or is one whose output is something else', async () => {
  const without = leavesOf(await makeProgram(), '').filter(
    ([, { options }]) => !options.some(({ long }) => long === '--json'),
  );
  assert.deepEqual(without.map(([name]) => name).sort(), [...WITHOUT].sort());
});

test('what each says as JSON is what it says in words', async () => {
  const at = (name: string): string => join(folder, name);
  const bundle = await printed('bundle', 'examples/clinic', '-o', at('app.enclaim'));
  assert.match(bundle.policy, /^sha384:[0-9a-f]{96}$/);
  assert.deepEqual(bundle.exposed, ['clinic.v1.Intake/Submit', 'clinic.v1.Intake/Read']);
  assert.equal(bundle.withheld[0].method, 'clinic.v1.Marketing/ExportContacts');

  const { inputs } = await printed('image lock');
  assert.equal(inputs.length, (await readLock(join(projectRoot, 'image/lock.json'))).inputs.length);

  const digests = await printed('policy interfaces', 'examples/clinic/proto');
  assert.match(digests['clinic.v1.Intake/Submit'], /^sha256:[0-9a-f]{64}$/);

  const made = await printed('witness init', at('witness'), '--name', 'a.example/w');
  const [{ key }] = made.witnesses;
  assert.equal(parseNoteKey(key).name, 'a.example/w');

  const { publicKey } = generateKeyPairSync('ed25519');
  const raw = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
  const log = formatNoteKey(noteKey('log.example', 'ed25519', raw));
  assert.match((await printed('witness serve', at('witness'), '--log', log)).address, /127\.0\.0\.1:\d+\/?$/);
});
