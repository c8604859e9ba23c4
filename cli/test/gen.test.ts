/** Generated types hold handlers to what their method was granted. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { compileProtos } from '@enclaim/image';
import { match, type Policy, readDescriptors } from '@enclaim/policy-schema';
import { labPolicy } from '../../test/support/lab.ts';
import { handlerTypes } from '../src/gen.ts';
import { readPolicyFile } from '../src/policy/app.ts';

const mailer = { address: 'https://mail.example', identity: { ca: 'system' }, region: 'r', receives: ['personal'] };
const released = {
  method: 'lab.v1.Lab/Tell',
  to: 'mailer',
  call: 'POST /v1',
  owner: 'lab',
  justification: 'Asked for.',
};
const declassify = [
  { id: 'notify', build: { to: '$request.email' }, ...released },
  { id: 'done', build: { to: '$record.cases.email' }, ...released },
];

const root = join(import.meta.dirname, '../..');
const clinic = join(root, 'examples/clinic');

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-gen-'));
  const policy = await readPolicyFile(join(clinic, 'policy.yaml'));
  await writeFile(join(folder, 'enclaim.d.ts'), await typesOf(join(clinic, 'proto'), policy));
});
async function typesOf(protos: string, policy: Policy): Promise<string> {
  const { exposed, outbound } = match(readDescriptors(await compileProtos(protos)), policy);
  return handlerTypes(exposed, outbound, policy);
}
after(() => rm(folder, { recursive: true }));

/** What the compiler says of handlers with these bodies. */
async function compiled(submit: string, read: string): Promise<string> {
  const text = `import type { Handlers } from './enclaim.d.ts';
    export const handlers: Handlers = {
      'clinic.v1.Intake/Submit': async (request, ctx) => { ${submit} },
      'clinic.v1.Intake/Read': async (request, ctx) => { ${read} },
    };`;
  await writeFile(join(folder, 'handlers.ts'), text);
  const flags = [
    '--noEmit',
    '--strict',
    '--ignoreConfig',
    '--allowImportingTsExtensions',
    '--target',
    'esnext',
    '--types',
    '',
  ];
  const { stdout } = spawnSync(join(root, 'node_modules/.bin/tsc'), [...flags, 'handlers.ts'], {
    cwd: folder,
    encoding: 'utf8',
  });
  return stdout;
}

const PUT = "await ctx.store.cases.put('k', { text: request.patient?.birthDate ?? '' }); return { caseId: 'k' };";

test('handlers within their grants compile', async () => {
  assert.equal(
    await compiled(PUT, "await ctx.store.cases.get(request.caseId ?? ''); return { caseId: ctx.requestId };"),
    '',
  );
});

for (const [name, submit, read, expected] of [
  [
    'reading what may only be written',
    "await ctx.store.cases.get('k'); return {};",
    'return {};',
    /'get' does not exist/,
  ],
  ['writing what may only be read', PUT, "await ctx.store.cases.put('k', {}); return {};", /'put' does not exist/],
  ['a collection that was not granted', 'await ctx.store.others; return {};', 'return {};', /'others' does not exist/],
  ['a field that the request lacks', 'request.diagnosis; return {};', 'return {};', /'diagnosis' does not exist/],
  ['a response of another type', 'return { caseId: 7 };', 'return {};', /not assignable/],
] as const) {
  test(`${name} does not compile`, async () => assert.match(await compiled(submit, read), expected));
}

test('what is called outside and released is typed too', async () => {
  const types = await typesOf(join(root, 'test/hostile/proto'), labPolicy({ subprocessors: { mailer }, declassify }));
  const [context = ''] = /'lab\.v1\.Lab\/Tell'.*/.exec(types) ?? [];
  assert.ok(context.includes('Send(message: lab_v1_Letter): Promise<Readonly<Record<string, never>>>'), context);
  assert.ok(context.includes('Ask(message: lab_v1_Letter): Promise<lab_v1_Reply>'), context);
  assert.ok(
    context.includes(
      '{ readonly release: { done(keys: { readonly cases: string }): Promise<null>; notify(): Promise<null> } }',
    ),
    context,
  );
  assert.match(types, /interface lab_v1_Letter/);
  assert.doesNotMatch(/'lab\.v1\.Lab\/Put'.*/.exec(types)?.[0] ?? '', /call|release/);
});
