/** An app runs on its author's machine as it would in a VM, tells its author where it threw, and no production reference accepts it. */

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseReferences, type References } from '@enclaim/attestation';
import { utf8 } from '@enclaim/attestation/bytes';
import { earOf } from '@enclaim/attestation/rats';
import { parseVerdictDocument, verdictDocument } from '@enclaim/attestation/verdict-document';
import { connect } from '@enclaim/client';
import { projectRoot } from '@enclaim/image';
import { EXIT } from '../cli/src/exit-status.ts';
import { compileEntries } from '../image/src/programs/compile.ts';
import { ENTRIES } from '../image/src/programs/entries.ts';
import { referencesOf } from '../runtime/src/admission/peer-references.ts';
import { openRealm } from '../runtime/src/worker/process/realm.ts';
import type { Ended } from './support/ended.ts';
import { eventually } from './support/eventually.ts';
import { Program } from './support/program.ts';
import { readText, written } from './support/worker-text.ts';

const cli = join(import.meta.dirname, '../cli/src/main.ts');
const PUT = 'notes.v1.Notes/Put';
let scratch: string;
let app: string;
let dev: Program;
let target: string;
/** What it has said to its author so far. */
const said = (): string => dev.said;

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'enclaim-dev-'));
  app = join(scratch, 'notes');
  assert.equal((await enclaim('init', 'notes')).code, EXIT.ok);
  dev = start(['dev', 'notes', '--state', 'state']);
  [target] = await dev.line(/^127\.0\.0\.1:\d+$/);
});
after(async () => {
  await dev?.[Symbol.asyncDispose]();
  await rm(scratch, { recursive: true, force: true });
});

const start = (args: readonly string[]): Program => new Program([process.execPath, cli, ...args], { cwd: scratch });

const enclaim = (...args: readonly string[]): Promise<Ended> => start(args).ended();

const call = (references = 'state/references.json', method = PUT) =>
  enclaim('call', target, method, '-d', '{"text":"4711"}', '--references', references);
const accepted = async (): Promise<References> =>
  JSON.parse(await readFile(join(scratch, 'state/references.json'), 'utf8'));

/** Changes a file of the app, and waits for what the command says next. */
async function change(path: string, edit: (text: string) => string, next: RegExp): Promise<string> {
  const file = join(app, path);
  const before = said().length;
  await writeFile(file, edit(await readFile(file, 'utf8')));
  await eventually(`${next} after ${path}`, () => next.test(said().slice(before)));
  return said().slice(before);
}

test('it is called with the command and the references that it names, and says what is not held', async () => {
  assert.match(said(), /^simulated {2}nothing is measured here/m);
  assert.match(said(), /^without {4}user, root/m);
  assert.ok(said().includes(`enclaim call ${target} ${PUT} --references state/references.json`), said());
  const called = await call();
  assert.equal(called.code, EXIT.ok, called.stderr);
  assert.match(called.stderr, /passed +simulated +a developer's key signed, .*nothing was measured/);
  const { images, unsafeUnconfined, anchors } = await accepted();
  assert.deepEqual([images, anchors.unsafeSimulatedKeys?.length], [[], 1]);
  assert.ok(unsafeUnconfined?.includes('root'));
});

test('what is served is the bundle that would be deployed', async () => {
  const { code, stdout, stderr } = await enclaim('bundle', 'notes', '-o', 'notes.enclaim');
  assert.equal(code, EXIT.ok, stderr);
  assert.equal(stdout.match(/^bundle (.*)$/m)?.[1], (await accepted()).bundles[0]);
});

describe('no production reference accepts it', () => {
  const digest = `sha256:${'a'.repeat(64)}` as const;
  const production = async (): Promise<References> => {
    const { anchors, ...rest } = await accepted();
    const { unsafeSimulatedKeys: _, ...others } = anchors;
    const trusted = { attestationKeys: [digest], endorsementRoots: [digest], unsafeSwtpmRoots: [digest] };
    const makers = { vendors: ['amd', 'intel', 'aws', 'google'] as const, unsafeSiliconRoots: [digest] };
    return { ...rest, anchors: { ...others, ...trusted, ...makers } };
  };

  test('whatever hardware those trust', async () => {
    await writeFile(join(scratch, 'production.json'), JSON.stringify(await production()));
    const { code, stderr } = await call('production.json');
    assert.equal(code, EXIT.refused);
    assert.match(stderr, /EvidenceError chain: simulated evidence of ed25519:\S+: the references accept no simulated/);
  });

  test('also where a key was slipped in among them', async () => {
    const { unsafeSimulatedKeys } = (await accepted()).anchors;
    const { anchors, ...rest } = await production();
    const mixed = { ...rest, anchors: { ...anchors, unsafeSimulatedKeys: unsafeSimulatedKeys ?? [] } };
    const refusal = { name: 'AppraisalError', message: /stands alone: not beside anchors\.attestationKeys, / };
    assert.throws(() => parseReferences(utf8(JSON.stringify(mixed))), refusal);
    await assert.rejects(connect(target, { references: mixed }), refusal);
    const image = { ...(await accepted()), snp: [] };
    assert.throws(() => parseReferences(utf8(JSON.stringify(image))), /not beside snp/);
  });

  test("nor do another developer's", async () => {
    const mine = await accepted();
    const key = `ed25519:${'A'.repeat(43)}` as const;
    const others = { ...mine, anchors: { ...mine.anchors, unsafeSimulatedKeys: [key] } };
    await assert.rejects(connect(target, { references: others }), { name: 'EvidenceError', code: 'chain' });
  });

  test('and no policy may name it as an attested peer', async () => {
    const references = JSON.stringify(await accepted());
    const { policy } = await accepted();
    for (const image of ['any', digest] as const)
      assert.throws(() => referencesOf({ policy, image, references } as never), {
        code: 'policy',
        message: /simulated/,
      });
  });

  test('layers that it lacks have to be named, too', async () => {
    await assert.rejects(connect(target, { references: { ...(await accepted()), unsafeUnconfined: [] } }), {
      name: 'VerdictError',
    });
  });

  test('and its verdict is none for others: no document is read, and the attestation result warns', async () => {
    const channel = await connect(target, { references: await accepted() });
    const { verdict } = channel.attestation;
    channel.close();
    const now = Date.now();
    const document = utf8(JSON.stringify(verdictDocument(verdict, { at: now, asOf: now })));
    assert.throws(() => parseVerdictDocument(document), /no verifier makes a verdict of platform simulated/);
    const issue = { iat: Math.floor(now / 1000), asOf: now, verifier: { build: 'b', developer: 'd' } };
    assert.equal(earOf(verdict, issue).submods.simulated?.['ear.status'], 'contraindicated');
  });
});

test('what is sealed outlives the handlers that stored it, and no change of the policy', async () => {
  const sealed = await change('policy.yaml', (text) => text.replace('volatile', 'sealed'), /^serving /m);
  assert.match(sealed, /^state {6}begins anew/m);
  const { stdout } = await call();
  const words = ['call', target, 'notes.v1.Notes/Get', '-d', stdout, '--references', 'state/references.json'];
  assert.match((await enclaim(...words)).stdout, /4711/);
  const again = await change('handlers/index.ts', (text) => `${text}\n`, /^serving /m);
  assert.doesNotMatch(again, /^state /m);
  assert.match((await enclaim(...words)).stdout, /4711/);
});

const THROWS = `export const handlers = {
  '${PUT}': async (request: { readonly text: string }, ctx: { readonly requestId: string }) => {
    console.log('about to', { fail: request.text });
    return refuse(request.text);
  },
  'notes.v1.Notes/Get': async () => ({ text: 7 }),
};

function refuse(text: string): never {
  throw new TypeError(\`no such thing as \${text}\`, { cause: new Error('because') });
}
`;

test('its author reads where a handler threw and what it wrote; its caller hears an id, which the log has', async () => {
  await change('handlers/index.ts', () => THROWS, /^serving /m);
  const before = said().length;
  const { code, stderr } = await call();
  assert.equal(code, EXIT.answered);
  const [, id = ''] = /INTERNAL: the handler threw \(error ([0-9a-f]{32})\)$/m.exec(stderr) ?? assert.fail(stderr);
  assert.doesNotMatch(stderr, /no such thing|because|handlers\/index/);
  await eventually('both words', () => ['threw in', 'failed'].every((word) => said().slice(before).includes(word)));
  const told = said().slice(before);
  assert.match(told, /^console {4}is there in development alone/m);
  assert.match(told, /\| log: about to {"fail":"4711"}$/m);
  assert.match(told, new RegExp(`threw in ${PUT}\n  \\| TypeError: no such thing as 4711$`, 'm'));
  assert.match(told, /\| +at refuse \(handlers\/index\.ts:10:\d+\)$/m);
  assert.match(told, /\| +at .*handlers\/index\.ts:4:\d+/m);
  assert.match(told, /\| caused by: Error: because$/m);
  assert.ok(told.includes(`(error ${id})`), told);
  // The disk of the log, most of which is zeros.
  const log = await readFile(join(scratch, 'state/log'), 'latin1');
  assert.equal(log.split(`"id":"${id}"`).length, 2);
  for (const word of ['no such thing', 'about to']) assert.ok(!log.includes(word), word);
});

test('its author is told which field of an answer is wrong', async () => {
  const before = said().length;
  const { stderr } = await call('state/references.json', 'notes.v1.Notes/Get');
  assert.match(stderr, /text/);
  const asked = await enclaim('call', target, 'notes.v1.Notes/Get', '--references', 'state/references.json');
  assert.match(asked.stderr, /INTERNAL: the response is not a notes\.v1\.GetResponse \(error [0-9a-f]{32}\)$/m);
  await eventually('a word', () => said().slice(before).includes('failed'));
  assert.match(said().slice(before), /^failed .*the response is not a notes\.v1\.GetResponse: .*text/m);
});

test('a policy that would be refused is shown as check shows it, and what was served is served still', async () => {
  const kept = await accepted();
  const policy = await readFile(join(app, 'policy.yaml'), 'utf8');
  const residency = `residency: { regions: [eu], witness: { name: W, kind: gcp-instance-identity, key: "sha256:${'0'.repeat(64)}" } }`;
  const told = await change('policy.yaml', (text) => text.replace('claims:', `${residency}\nclaims:`), /^waiting /m);
  assert.match(told, /^notes\/policy\.yaml:\d+:\d+: .*error.*: /m);
  assert.match(told, /^waiting {4}what was served before is served still/m);
  assert.deepEqual(await accepted(), kept);
  assert.equal((await call()).code, EXIT.answered);
  const back = await change('policy.yaml', () => policy.replace('version: 1', 'version: 2'), /^serving /m);
  assert.match(back, /^changed {4}notes\/policy\.yaml$/m);
  assert.notEqual((await accepted()).policy, kept.policy);
});

test('handlers that do not compile are told with their place, and the next change is tried', async () => {
  const broken = await change('handlers/index.ts', () => 'export const handlers = {\n', /^waiting /m);
  assert.match(broken, /handlers\/index\.ts:\d+: /);
  await change('handlers/index.ts', () => `${THROWS}\n`, /^serving /m);
});

test('it ends in order', async () => {
  const { code } = await dev.stop();
  assert.equal(code, EXIT.ok, said());
});

test('nothing of it is in an image', async () => {
  const entries = await compileEntries(projectRoot, ENTRIES);
  const sources = entries.flatMap((entry) => entry.sources);
  assert.ok(sources.includes('runtime/src/worker/process/realm.ts'));
  assert.deepEqual(
    sources.filter((source) => source.startsWith('runtime/src/dev/') || source.startsWith('cli/')),
    [],
  );
});

test('the realm of a VM has no console, takes no stacks and notes nothing', async () => {
  const code = `exports.handlers = { 'a.B/C': async () => {
    throw Object.assign(new Error('x'), { there: typeof console });
  }, 'a.B/D': async () => ({ there: typeof console, stack: new Error('x').stack, limit: typeof Error.stackTraceLimit }) };`;
  const realm = openRealm(code, ['a.B/C', 'a.B/D']);
  const granted = { streams: {}, reads: [], stores: [], sends: {}, releases: [] };
  for (const [index, method] of ['a.B/C', 'a.B/D'].entries())
    realm.receive(
      written({
        ...{ kind: 'call', call: index, method, ...granted, time: '2026-01-01T00:00:00.000Z' },
        ...{ id: 'i', seed: '0'.repeat(64), json: null },
      }),
    );
  await new Promise((resolve) => setImmediate(resolve));
  const lines = realm.take().trim().split('\n').sort();
  assert.deepEqual(lines.map(readText), [
    { kind: 'done', call: 1, json: { there: 'undefined', limit: 'undefined' } },
    { kind: 'failed', call: 0 },
  ]);
  assert.equal(realm.notes(), '');
});
