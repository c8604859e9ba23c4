/** Generated types hold handlers to what their method was granted. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { compileProtos } from '@enclaim/image';
import { match, readDescriptors } from '@enclaim/policy-schema';
import { handlerTypes } from '../src/gen.ts';
import { readPolicyFile } from '../src/policy/app.ts';

const root = join(import.meta.dirname, '../..');
const clinic = join(root, 'examples/clinic');

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-gen-'));
  const policy = await readPolicyFile(join(clinic, 'policy.yaml'));
  const { exposed } = match(readDescriptors(await compileProtos(join(clinic, 'proto'))), policy);
  await writeFile(join(folder, 'enclaim.d.ts'), handlerTypes(exposed, policy));
});
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
