/** `enclaim check` says all that the guest would refuse, at its lines. */

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';
import { CLINIC, clinic, enclaim, MISSPELT, type Ran, TOO_MUCH } from './run-command.ts';

test('check passes the clinic, and says what is not exposed', async () => {
  for (const name of ['policy.yaml', 'policy.notify.yaml']) {
    const { status, out } = await enclaim(CLINIC, 'check', '--policy', name, '--as-of', '2026-12-01');
    assert.equal(status, 0, out);
    assert.match(
      out,
      /^proto\/clinic\/v1\/intake\.proto:\d+:\d+: note: no rule for clinic\.v1\.Marketing\/ExportContacts/,
    );
  }
});

test('check says all that the guest would refuse at boot, at the lines of the file', async () => {
  const { status, out } = await enclaim(CLINIC, 'check', '--policy', 'policy.full.yaml', '--as-of', '2026-12-01');
  assert.equal(status, 1);
  const lines = readFileSync(join(CLINIC, 'policy.full.yaml'), 'utf8').split('\n');
  const found = [...out.matchAll(/^policy\.full\.yaml:(\d+):\d+: error: this runtime does not hold (.*)$/gm)];
  const told = found.map(([, line, what]) => [what, lines[Number(line) - 1]?.trim()]);
  // The file's first claim is the third in order of names, and so on.
  for (const [id, kind] of [
    ['authorised', 'authorised-access'],
    ['region', 'residency'],
  ])
    assert.deepEqual(
      told.filter(([what]) => what === `claim ${id} of kind ${kind}`),
      [[`claim ${id} of kind ${kind}`, `- id: ${id}`]],
    );
  for (const what of ['residency', 'Cedar policies', 'records of a pipeline'])
    assert.equal(told.filter(([each]) => each === what).length, 1, what);
  assert.match(out, /error: clinic\.v1\.Intake\/\w+ declares|^\d+ errors$/m);
  assert.equal(out.match(/: error: /g)?.length, found.length, 'nothing else is wrong with it');
});

test('check warns of a policy so long that no succession holds it and another one', async () => {
  const signer = `ed25519:${'A'.repeat(43)}`;
  const long = clinic([
    'policy.yaml',
    'enclaim: 1',
    `enclaim: 1\nsuccession: { signers: ["${signer}"], threshold: 1, notice: P7D }\ncontrols: {\n${Array.from(
      { length: 60 },
      (_, i) => `  x-own/c${i}: "${'x'.repeat(900)}"`,
    ).join(',\n')} }`,
  ]);
  const warned =
    /^policy\.yaml:\d+:\d+: warning: the policy has \d+ bytes, and a succession holds two of 43008 bytes each/m;
  assert.match((await enclaim(long, 'check')).out, warned);
});

test('check warns of a method that may read what it may not return, with the ways out', async () => {
  const made = clinic([
    'policy.yaml',
    'returns: [personal.identity, personal.contact, personal.health, operational]',
    'returns: [operational]',
  ]);
  const { out } = await enclaim(made, 'check');
  const lines = readFileSync(join(made, 'policy.yaml'), 'utf8').split('\n');
  const [, line, against] =
    /^policy\.yaml:(\d+):\d+: warning: clinic\.v1\.Intake\/Read reads cases, which may hold personal\.contact, personal\.health, personal\.identity; .*\(reads → returns\): return it, let a release .*, or split the method \(policy\.yaml:(\d+):\d+\)$/m.exec(
      out,
    ) ?? [];
  assert.match(lines[Number(line) - 1] ?? '', /reads: \[cases\]/, out);
  assert.match(lines[Number(against) - 1] ?? '', /returns: \[operational\]/);
  assert.doesNotMatch((await enclaim(CLINIC, 'check')).out, /warning/);
  assert.doesNotMatch((await enclaim(CLINIC, 'check', '--policy', 'policy.notify.yaml')).out, /warning/);
});

test('check holds budgets against what the workers have', async () => {
  const budgets =
    'governance: { resources: { memory: 512MiB, cpu: 1s, wall: 5s, inFlight: 4, pressure: { memory: 20, cpu: 60 } } }\n';
  const made = clinic(['policy.yaml', 'claims:\n', `${budgets}claims:\n`]);
  const { status, out } = await enclaim(made, 'check');
  assert.equal(status, 1);
  assert.match(
    out,
    /^policy\.yaml:\d+:\d+: error: clinic\.v1\.Intake\/Read declares 524288 KiB, the workers have 262144 KiB$/m,
  );
});

test('a release that contradicts the .proto files is found at its own line, though lists are sorted', async () => {
  const made = clinic([
    'policy.notify.yaml',
    'declassify:\n',
    'declassify:\n  - { id: zzz, method: clinic.v1.Intake/Submit, to: mailer, call: mail.v1.Mail/Send, build: { template: t }, owner: a@b.example, justification: j }\n',
  ]);
  const { out } = await enclaim(made, 'check', '--policy', 'policy.notify.yaml');
  const at =
    readFileSync(join(made, 'policy.notify.yaml'), 'utf8')
      .split('\n')
      .findIndex((line) => line.includes('id: zzz')) + 1;
  assert.match(out, new RegExp(`^policy\\.notify\\.yaml:${at}:\\d+: error: no \\.proto has a unary method`, 'm'));
});

test('check blocks, naming file, line and column', async () => {
  const { status, out } = await enclaim(clinic(MISSPELT), 'check');
  assert.equal(status, 1);
  assert.match(out, /^policy\.yaml:24:16: error: no collection "caes" is declared; did you mean "cases"\?/m);
});

test('check blocks a method that does not fit in its rule, at both places', async () => {
  const { status, out } = await enclaim(clinic(TOO_MUCH), 'check');
  assert.equal(status, 1);
  assert.match(
    out,
    /^proto\/clinic\/v1\/intake\.proto:41:3: error: .*receipt_email, which carries staff\.identity; the policy has no such category \(policy\.yaml:12:3\)/m,
  );
});

test('check blocks a misspelt option', async () => {
  const { status, out } = await enclaim(
    clinic(['proto/clinic/v1/fhir.proto', '(enclaim.holds)', '(enclaim.hods)']),
    'check',
  );
  assert.equal(status, 1);
  assert.match(out, /^proto\/clinic\/v1\/fhir\.proto:\d+:\d+: error: .*enclaim\.hods/m);
});

test('check blocks what has expired', async () => {
  const { status, out } = await enclaim(CLINIC, 'check', '--policy', 'policy.full.yaml', '--as-of', '2027-04-01');
  assert.equal(status, 1);
  assert.match(out, /error: the assurance ended with 2027-03-31/);
});

test('check says the same as JSON', async () => {
  const { status, out } = await enclaim(clinic(MISSPELT), 'check', '--json');
  const { ok, findings } = JSON.parse(out) as { ok: boolean; findings: { level: string; code: string; at: object }[] };
  assert.deepEqual([status, ok], [1, false]);
  const [error] = findings.filter(({ level }) => level === 'error');
  assert.deepEqual([error?.code, error?.at], ['reference', { file: 'policy.yaml', line: 24, column: 16 }]);
});

test('SARIF is valid by its schema, with and without findings', async () => {
  const { $schema, id, ...schema } = JSON.parse(
    readFileSync(join(import.meta.dirname, 'vectors/sarif-2.1.0.json'), 'utf8'),
  ) as Record<string, unknown>;
  assert.ok($schema && id);
  const ajv = new Ajv({ strict: false, allErrors: true, unicodeRegExp: false });
  addFormats.default(ajv);
  const validate = ajv.compile(schema);
  for (const made of [clinic(), clinic(MISSPELT), clinic(TOO_MUCH), clinic(['policy.yaml', 'enclaim: 1', '{'])]) {
    const { out } = await enclaim(made, 'check', '--sarif');
    const log = JSON.parse(out) as {
      runs: { columnKind: string; results: unknown[]; tool: { driver: { version: string } } }[];
    };
    assert.ok(validate(log), JSON.stringify(validate.errors));
    assert.equal(log.runs[0]?.tool.driver.version, '1.2.3');
    assert.equal(log.runs[0]?.columnKind, 'utf16CodeUnits');
    assert.ok((log.runs[0]?.results.length ?? 0) > 0);
  }
  assert.ok(!validate({ version: '2.1.0', runs: [{ tool: {} }] }), 'the schema refuses something');
});

test('check says how many it compared, and none is an error', async () => {
  const made = clinic();
  assert.match(
    (await enclaim(made, 'check')).out,
    /^ok: policy\.yaml holds together; its 2 rules were compared with 3 methods of proto: 2 exposed, 1 without a rule, 0 of subprocessors$/m,
  );
  assert.deepEqual(JSON.parse((await enclaim(made, 'check', '--json')).out).compared, {
    policy: 'policy.yaml',
    protos: 'proto',
    rules: 2,
    methods: 3,
    exposed: 2,
    outbound: 0,
  });
  renameSync(join(made, 'proto'), join(made, 'protos'));
  const without = await enclaim(made, 'check');
  assert.deepEqual(
    [without.status, /there is no proto\/ in the folder: no method was compared/.test(without.out)],
    [1, true],
  );
  mkdirSync(join(made, 'proto'));
  writeFileSync(join(made, 'proto/empty.proto'), 'syntax = "proto3"; message M {}');
  const empty = await enclaim(made, 'check');
  assert.deepEqual([empty.status, /no \.proto has a method that could be served/.test(empty.out)], [1, true]);
});

test('check blocks a rule for a method that no .proto has', async () => {
  const { status, out } = await enclaim(clinic(['policy.yaml', '    Submit:', '    Sumbit:']), 'check');
  assert.equal(status, 1);
  assert.match(
    out,
    /^policy\.yaml:\d+:\d+: error: no \.proto has a method clinic\.v1\.Intake\/Sumbit; did you mean "clinic\.v1\.Intake\/Submit"\?/m,
  );
});

test('check blocks .proto files that are links, which nothing would read', async () => {
  const made = clinic();
  renameSync(join(made, 'proto/clinic/v1/fhir.proto'), join(made, 'fhir.proto'));
  symlinkSync('../../../fhir.proto', join(made, 'proto/clinic/v1/fhir.proto'));
  const { status, out } = await enclaim(made, 'check');
  assert.equal(status, 1);
  assert.match(out, /^proto\/clinic\/v1\/fhir\.proto: error: a link, which is not followed/m);
});

test('check holds the calls that a policy names against what the .proto files have', async () => {
  const service = `syntax = "proto3"; package m; import "enclaim/handling.proto";
message L { string to = 1 [(enclaim.data) = "personal.contact.email"]; }
service Mail { option (enclaim.subprocessor) = "mailer"; rpc Post(L) returns (L) { option (enclaim.http) = "POST /t/1"; } }`;
  const checked = async (calls: string): Promise<Ran> => {
    const made = clinic([
      'policy.notify.yaml',
      '    receives: [personal.contact.email]',
      `    receives: [personal.contact.email]\n    calls: [${calls}]`,
    ]);
    writeFileSync(join(made, 'proto/mail.proto'), service);
    return enclaim(made, 'check', '--policy', 'policy.notify.yaml', '--as-of', '2026-12-01');
  };
  const named = await checked('POST /t/1');
  assert.deepEqual([named.status, / 1 of subprocessors$/m.test(named.out)], [0, true], named.out);
  const other = await checked('POST /t/2');
  assert.equal(other.status, 1);
  assert.match(other.out, /error: no \.proto has POST \/t\/2 of mailer; did you mean "POST \/t\/1"\?/);
  const none = await checked('');
  assert.equal(none.status, 1);
  assert.match(none.out, /error: subprocessors\.mailer\.calls does not name POST \/t\/1: handlers cannot call it/);
});

test('check takes the file of a policy, too', async () => {
  const made = clinic(MISSPELT);
  const { status, out } = await enclaim(made, 'check', 'policy.yaml');
  assert.equal(status, 1);
  assert.match(out, /^policy\.yaml:24:16: error/m);
  assert.equal((await enclaim(made, 'check', 'policy.yaml', '--policy', 'policy.full.yaml')).status, 2);
});
