/** Generated types hold handlers to what their method was granted. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { compileProtos } from '@enclaim/image';
import { match, type Policy, readDescriptors } from '@enclaim/policy-schema';
import type { Collection, Rule } from '@enclaim/policy-schema/admission';
import { HANDLER_STATUSES } from '../../runtime/src/worker/handler-status.ts';
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
  return handlerTypes(match(readDescriptors(await compileProtos(protos)), policy), policy);
}
after(() => rm(folder, { recursive: true }));

/** What the compiler says of handlers with these bodies. */
async function compiled(submit: string, read: string): Promise<string> {
  const text = `import type { Handlers } from './enclaim.d.ts';
    export const handlers: Handlers = {
      'clinic.v1.Intake/Submit': async (request, ctx) => { ${submit} },
      'clinic.v1.Intake/Read': async (request, ctx) => { ${read} },
    };`;
  return typeErrors(folder, text);
}

/** What the compiler says of a module beside generated types, and of those. */
async function typeErrors(cwd: string, text: string): Promise<string> {
  await writeFile(join(cwd, 'handlers.ts'), text);
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
    cwd,
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
  ["a status that is the runtime's", PUT, "throw new StatusError('INTERNAL', 'no');", /'"INTERNAL"' is not assignable/],
  [
    'an event that the policy does not name',
    `await ctx.log('case-lost'); ${PUT}`,
    'return {};',
    /"?case-lost"? is not assignable|'"case-lost"' is not assignable/,
  ],
  ['a response of another type', 'return { caseId: 7 };', 'return {};', /not assignable/],
] as const) {
  test(`${name} does not compile`, async () => assert.match(await compiled(submit, read), expected));
}

test('a condition compiles where the collection is read as well as written, and pages where it is read', async () => {
  const pages = "await ctx.store.cases.list({ after: 'k', limit: 10 }); return {};";
  const read = `const { version } = (await ctx.store.cases.read('k')) ?? { version: null }; ${pages}`;
  const onCondition = `const { version } = (await ctx.store.cases.read('k')) ?? { version: null };
    await ctx.store.cases.put('k', {}, { ifVersion: version }); await ctx.store.cases.delete('k', { ifVersion: version });
    return {};`;
  assert.equal(await compiled(PUT, read), '');
  assert.match(
    await compiled("await ctx.store.cases.put('k', {}, { ifVersion: null }); return {};", read),
    /error TS2554/,
  );
  const both = join(folder, 'both');
  await mkdir(both);
  const policy = await readPolicyFile(join(clinic, 'policy.yaml'));
  const intake = policy.services['clinic.v1.Intake'] ?? {};
  const services = { 'clinic.v1.Intake': { ...intake, Read: { ...(intake.Read as Rule), stores: ['cases'] } } };
  await writeFile(join(both, 'enclaim.d.ts'), await typesOf(join(clinic, 'proto'), { ...policy, services }));
  const handler = (body: string): string => `import type { Handlers } from './enclaim.d.ts';
    export const read: Handlers['clinic.v1.Intake/Read'] = async (request, ctx) => { ${body} };`;
  assert.equal(await typeErrors(both, handler(onCondition)), '');
  const undefinedVersion = onCondition.replace('ifVersion: version', 'ifVersion: undefined');
  assert.match(await typeErrors(both, handler(undefinedVersion)), /error TS2322/);
});

test('a collection of messages takes and gives those, and is listed by its indexes alone', async () => {
  const app = join(folder, 'indexed');
  await mkdir(app);
  const policy = await readPolicyFile(join(clinic, 'policy.yaml'));
  const intake = policy.services['clinic.v1.Intake'] ?? {};
  const services = { 'clinic.v1.Intake': { ...intake, Read: { ...(intake.Read as Rule), stores: ['cases'] } } };
  const cases = { ...(policy.collections.cases as Collection), message: 'clinic.v1.Patient' };
  const types = (indexes: readonly string[]): Promise<string> =>
    typesOf(join(clinic, 'proto'), { ...policy, services, collections: { cases: { ...cases, indexes } } });
  await writeFile(join(app, 'enclaim.d.ts'), await types(['active', 'birth_date']));
  const errors = (body: string): Promise<string> =>
    typeErrors(
      app,
      `import type { Handlers } from './enclaim.d.ts';
      export const read: Handlers['clinic.v1.Intake/Read'] = async (request, ctx) => { const { cases } = ctx.store; ${body}; return {} };`,
    );
  for (const right of [
    "await cases.put('k', { birthDate: '1970-01-01', active: true })",
    "const born: string | undefined = (await cases.get('k'))?.birthDate",
    "await cases.list({ where: { birthDate: '1970-01-01' }, prefix: 'a', limit: 3 })",
    'await cases.list({ where: { active: false } })',
    "await cases.list({ after: 'k' })",
  ])
    assert.equal(await errors(right), '', right);
  for (const wrong of [
    "await cases.put('k', { born: '1970-01-01' })",
    "await cases.list({ where: { gender: 'female' } })",
    "await cases.list({ where: { birthDate: '1970-01-01', active: true } })",
    'await cases.list({ where: { active: 1 } })',
    'await cases.list({ where: {} })',
  ])
    assert.match(await errors(wrong), /error TS\d+/, wrong);
  await writeFile(join(app, 'enclaim.d.ts'), await types([]));
  assert.match(await errors("await cases.list({ where: { birthDate: '1970-01-01' } })"), /error TS\d+/);
});

test('a status that handlers may end with compiles', async () => {
  const read = "if (request.caseId === undefined) throw new StatusError('NOT_FOUND', 'no such case'); return {};";
  assert.equal(await compiled(PUT, read), '');
  assert.deepEqual(statusCodes(), Object.keys(HANDLER_STATUSES));
});

test('a message is stored as it is, and what a collection holds is narrowed once for all handlers', async () => {
  const whole = "await ctx.store.cases.put('k', request); return { caseId: 'k' };";
  const read = "const found = await ctx.store.cases.get('k'); return { caseId: found?.id };";
  assert.equal(await compiled(whole, 'return {};'), '');
  assert.match(await compiled(whole, read), /error TS\d+/, 'any JSON has no field');
  const narrowed = (put: string): string => `import type { Handlers } from './enclaim.d.ts';
    interface Kept { readonly id: string }
    declare module './enclaim.d.ts' { interface Records { cases: Kept } }
    export const handlers: Handlers = {
      'clinic.v1.Intake/Submit': async (request, ctx) => { await ctx.store.cases.put('k', ${put}); return {}; },
      'clinic.v1.Intake/Read': async (request, ctx) => { ${read} },
    };`;
  assert.equal(await typeErrors(folder, narrowed("{ id: 'k' }")), '');
  assert.match(await typeErrors(folder, narrowed('{ id: 7 }')), /not assignable to type 'string'/);
});

test('the types are there before the handlers are, and go to standard output where that is asked for', async () => {
  const app = join(folder, 'without-handlers');
  await mkdir(app);
  for (const part of ['policy.yaml', 'proto']) await cp(join(clinic, part), join(app, part), { recursive: true });
  const gen = (...more: readonly string[]) =>
    spawnSync(process.execPath, [join(root, 'cli/src/main.ts'), 'gen', app, ...more], { cwd: app, encoding: 'utf8' });
  const shown = gen('-o', '-');
  assert.deepEqual([shown.status, shown.stderr], [0, '']);
  assert.deepEqual((await readdir(app)).sort(), ['policy.yaml', 'proto']);
  const written = gen();
  assert.deepEqual([written.status, written.stderr], [0, '']);
  assert.equal(await readFile(join(app, 'handlers/enclaim.d.ts'), 'utf8'), shown.stdout);
  assert.match(shown.stdout, /export interface Handlers/);
});

/** The codes that the generated types have. */
function statusCodes(): string[] {
  const [, union = ''] =
    /type StatusCode =([^;]*);/.exec(handlerTypes({ exposed: [], outbound: [], stored: new Map() }, labPolicy())) ?? [];
  return [...union.matchAll(/'(\w+)'/g)].map(([, code]) => code ?? '');
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
  assert.match(types, /type lab_v1_Letter = /);
  assert.doesNotMatch(/'lab\.v1\.Lab\/Put'.*/.exec(types)?.[0] ?? '', /call|release/);
});

/** Names that mean something to TypeScript, to the prelude or to objects, names that meet once dots are gone, and open values. */
const HOSTILE: Readonly<Record<string, string>> = {
  'names.proto': `syntax = "proto3";
    import "enclaim/handling.proto"; import "p2.proto"; import "p3.proto"; import "pkg.proto";
    import "google/protobuf/wrappers.proto"; import "google/protobuf/any.proto";
    service Greeter {
      rpc Hello(Call) returns (Json) { option (enclaim.handling) = { purpose: "test" }; }
      rpc hello(Records) returns (class) { option (enclaim.handling) = { purpose: "test" }; }
      rpc then(Handlers) returns (Record) { option (enclaim.handling) = { purpose: "test" }; }
      rpc new(Readonly) returns (StatusError) { option (enclaim.handling) = { purpose: "test" }; }
      rpc DoCross(Cross) returns (Cross) { option (enclaim.handling) = { purpose: "test" }; }
      rpc DoOdd(Odd) returns (Odd) { option (enclaim.handling) = { purpose: "test" }; }
      rpc Stream(Promise) returns (stream AsyncIterable) { option (enclaim.handling) = { purpose: "test" }; }
    }
    message Call { option (enclaim.holds) = "public"; string log = 1; }
    message Json { option (enclaim.holds) = "public"; int32 x = 1; }
    message Records { option (enclaim.holds) = "public"; map<string, string> m = 1; }
    message Handlers { option (enclaim.holds) = "public"; int32 x = 1; }
    message Readonly { option (enclaim.holds) = "public"; int32 x = 1; }
    message StatusError { option (enclaim.holds) = "public"; int32 x = 1; }
    message class { option (enclaim.holds) = "public"; int32 x = 1; }
    message Record { option (enclaim.holds) = "public"; int32 x = 1; Record next = 2; }
    message Promise { option (enclaim.holds) = "public"; int32 x = 1; }
    message AsyncIterable { option (enclaim.holds) = "public"; int32 x = 1; }
    message Cross { option (enclaim.holds) = "public"; a.b_c.D one = 1; a_b.c.D two = 2; a.X_Y three = 3; a.X.Y four = 4; }
    enum Open { OPEN_NONE = 0; OPEN_SOME = 1; }
    message Odd {
      option (enclaim.holds) = "public";
      string at = 1 [json_name = "@type"]; string dash = 2 [json_name = "foo-bar"]; string quote = 3 [json_name = "it's"];
      string proto = 4 [json_name = "p__"]; string constructor = 5; string toString = 6; string hasOwnProperty = 8;
      string class = 9; string then = 10; string toJSON = 11; string valueOf = 12; string _1 = 13;
      string dollar = 14 [json_name = "$ref"]; string newline = 15 [json_name = "a\\nb"]; string star = 16 [json_name = "*/"];
      oneof prototype_ { string proto_type = 17; int32 arguments = 18; }
      string default = 20; string digit = 21 [json_name = "1a"]; string space = 22 [json_name = "a b"];
      string back = 23 [json_name = "a\\\\"]; string tick = 24 [json_name = "\${x}"];
      Open open = 25; repeated Open opens = 26; google.protobuf.DoubleValue double = 27; double plain = 28;
      google.protobuf.Any any = 29 [(enclaim.data) = "public"]; map<string, float> floats = 30;
    }`,
  'p2.proto': `syntax = "proto3"; package a.b_c; import "enclaim/handling.proto";
    message D { string s = 1 [(enclaim.data) = "public"]; }`,
  'p3.proto': `syntax = "proto3"; package a_b.c; import "enclaim/handling.proto";
    message D { int32 n = 1 [(enclaim.data) = "public"]; }`,
  'pkg.proto': `syntax = "proto3"; package a; import "enclaim/handling.proto";
    message X { message Y { string inner = 1 [(enclaim.data) = "public"]; } }
    message X_Y { int32 outer = 1 [(enclaim.data) = "public"]; }`,
};
const METHODS = ['Hello', 'hello', 'then', 'new', 'DoCross', 'DoOdd', 'Stream'];

test('hostile names compile, each to the type that it means', async () => {
  const app = join(folder, 'hostile');
  await mkdir(join(app, 'proto'), { recursive: true });
  for (const [name, text] of Object.entries(HOSTILE)) await writeFile(join(app, 'proto', name), text);
  const rules = METHODS.map((name) => `    ${name}: { purpose: test, callers: [anyone] }`);
  await writeFile(
    join(app, 'policy.yaml'),
    `enclaim: 1
system: { name: names, owner: { name: A, contact: a@a.example }, version: 1 }
services:
  Greeter:
${rules.join('\n')}
claims: [{ id: closed, kind: no-undisclosed-recipients, statement: Nobody else. }]
evidence: { events: [x] }
`,
  );
  const policy = await readPolicyFile(join(app, 'policy.yaml'));
  const { exposed, withheld } = match(readDescriptors(await compileProtos(join(app, 'proto'))), policy);
  assert.deepEqual(withheld, []);
  assert.equal(exposed.length, METHODS.length);
  await writeFile(join(app, 'enclaim.d.ts'), await typesOf(join(app, 'proto'), policy));
  const handlers = (cross: string): string => `import type { Handlers } from './enclaim.d.ts';
    export const handlers: Handlers = {
      'Greeter/Hello': async ({ log }, ctx) => { await ctx.log('x', log ?? null); return { x: 1 } },
      'Greeter/hello': async ({ m }) => ({ x: m?.['a']?.length }),
      'Greeter/then': async ({ x }) => ({ x, next: { next: { x: 2 } } }),
      'Greeter/new': async ({ x }) => ({ x }),
      'Greeter/DoCross': async ({ one, two, three, four }) => (${cross}),
      'Greeter/DoOdd': async (request) => ({
        '@type': request['@type'], 'foo-bar': 'x', "it's": request["it's"], constructor: 'x', '$ref': 'y', '1a': 'z',
        'a\\nb': 'n', '*/': 's', 'a\\\\': 'b', open: 7, opens: ['OPEN_SOME', 9], double: 'NaN', plain: '-Infinity', any: {},
        floats: { a: 'Infinity', b: 1 },
      }),
      'Greeter/Stream': async function* ({ x }) { yield { x } },
    };`;
  const right =
    '{ one: { s: one?.s }, two: { n: two?.n }, three: { outer: three?.outer }, four: { inner: four?.inner } }';
  assert.equal(await typeErrors(app, handlers(right)), '');
  for (const wrong of ['{ one: two }', '{ two: one }', '{ three: four }', '{ four: three }']) {
    assert.match(await typeErrors(app, handlers(wrong)), /error TS\d+/);
  }
});
