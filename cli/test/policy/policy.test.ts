/**
 * Commands about policies say all that the guest would refuse, at its lines, and overwrite
 * nothing.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, mock, test } from 'node:test';
import { connect } from '@enclaim/client';
import { buildBundle, findApp } from '@enclaim/image';
import { CLAIM_KINDS, type ClaimKind, digestOfCanonical } from '@enclaim/policy-schema';
import { HELD_CLAIMS } from '@enclaim/runtime/hindrances';
import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';
import ansis from 'ansis';
import { Command } from 'commander';
import { startPretendServer } from '../../../test/support/pretend-server.ts';
import { register as check } from '../../src/policy/check.ts';
import { register as diff } from '../../src/policy/diff.ts';
import { register as init } from '../../src/policy/init.ts';
import { register as policy } from '../../src/policy/policy.ts';
import { register as runTests } from '../../src/policy/test.ts';

const CLINIC = join(import.meta.dirname, '../../../examples/clinic');
const folders: string[] = [];

after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'enclaim-cli-'));
  folders.push(made);
  return made;
}

/** A copy of the clinic, some of whose text is replaced. */
function clinic(...edits: readonly (readonly [file: string, from: string, to: string])[]): string {
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

interface Ran {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command in a folder, in this process: what it prints, and the status that the process would end with. */
async function enclaim(cwd: string, ...args: readonly string[]): Promise<Ran> {
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

function git(cwd: string, ...args: readonly string[]): void {
  execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example', ...args], { cwd, stdio: 'pipe' });
}

const MISSPELT = ['policy.yaml', 'stores: [cases]', 'stores: [caes]'] as const;
const TOO_MUCH = [
  'proto/clinic/v1/intake.proto',
  '[(enclaim.data) = "personal.contact.email"]',
  '[(enclaim.data) = "staff.identity"]',
] as const;

test('init makes an app that checks and passes its tests', async () => {
  const made = join(folder(), 'My App');
  assert.equal((await enclaim('.', 'init', made)).status, 0);
  assert.match(readFileSync(join(made, 'policy.yaml'), 'utf8'), /name: my-app/);
  assert.deepEqual([(await enclaim(made, 'check')).status, (await enclaim(made, 'test')).status], [0, 0]);
});

test('init leaves nothing behind where it cannot write all, and says which file it was', async () => {
  const made = folder();
  const inside = join(made, 'apps/one');
  mkdirSync(inside, { recursive: true });
  writeFileSync(join(inside, 'handlers'), 'in the way');
  const { status, err } = await enclaim(made, 'init', 'apps/one');
  assert.equal(status, 2);
  assert.match(err, /apps\/one\/handlers cannot be written: .*EEXIST/);
  assert.deepEqual(readdirSync(inside), ['handlers']);
  rmSync(join(inside, 'handlers'));
  assert.equal((await enclaim(made, 'init', 'apps/one')).status, 0);
});

test('init keeps keys of the machine, bundles and receipts out of git, and changes no list that is there', async () => {
  const made = folder();
  assert.equal((await enclaim(made, 'init')).status, 0);
  git(made, 'init', '-q');
  mkdirSync(join(made, 'state'));
  for (const file of ['app.enclaim', 'a.enclaim-receipt', 'state/tpm']) writeFileSync(join(made, file), '');
  git(made, 'add', '-A');
  const staged = execFileSync('git', ['ls-files'], { cwd: made, encoding: 'utf8' });
  assert.match(staged, /^policy\.yaml$/m);
  assert.doesNotMatch(staged, /\.enclaim|state\//);
  const other = folder();
  writeFileSync(join(other, '.gitignore'), 'mine\n');
  assert.equal((await enclaim(other, 'init')).status, 0);
  assert.equal(readFileSync(join(other, '.gitignore'), 'utf8'), 'mine\n');
});

test('init overwrites nothing', async () => {
  const made = folder();
  writeFileSync(join(made, 'policy.test.yaml'), 'mine');
  const { status, err } = await enclaim(made, 'init');
  assert.equal(status, 2);
  assert.match(err, /policy\.test\.yaml is there already; nothing was written/);
  assert.ok(!existsSync(join(made, 'policy.yaml')));
});

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
    ['at-rest', 'encryption-at-rest'],
    ['authorised', 'authorised-access'],
    ['deletion', 'deleted-after-retention'],
    ['region', 'residency'],
  ])
    assert.deepEqual(
      told.filter(([what]) => what === `claim ${id} of kind ${kind}`),
      [[`claim ${id} of kind ${kind}`, `- id: ${id}`]],
    );
  for (const what of ['sealed storage of collection cases', 'residency', 'Cedar policies', 'records of a pipeline'])
    assert.equal(told.filter(([each]) => each === what).length, 1, what);
  assert.match(out, /error: clinic\.v1\.Intake\/\w+ declares|^\d+ errors$/m);
  assert.equal(out.match(/: error: /g)?.length, found.length, 'nothing else is wrong with it');
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

test('check --staged judges what would be committed, and nothing else', async () => {
  const made = clinic();
  git(made, 'init', '-q');
  git(made, 'add', '.');
  git(made, 'commit', '-qm', 'first');
  const file = join(made, 'policy.yaml');
  const good = readFileSync(file, 'utf8');
  const bad = good.replace('stores: [cases]', 'stores: [caes]');

  writeFileSync(file, bad);
  assert.equal((await enclaim(made, 'check')).status, 1, 'the folder is bad');
  const unstaged = await enclaim(made, 'check', '--staged');
  assert.equal(unstaged.status, 0, 'nothing is staged');
  assert.match(unstaged.out, /^nothing of the policy or its \.proto files is staged: nothing was compared$/m);
  git(made, 'add', 'policy.yaml');
  writeFileSync(file, good);
  assert.equal((await enclaim(made, 'check')).status, 0, 'the folder is good');
  const { status, out } = await enclaim(made, 'check', '--staged');
  assert.equal(status, 1, 'what is staged is bad');
  assert.match(out, /^policy\.yaml:24:16: error/m);
  const below = await enclaim(join(made, 'proto'), 'check', '--staged', '..');
  assert.equal(below.status, 1);
  assert.match(below.out, /^\.\.\/policy\.yaml:24:16: error/m);
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

/** Two apps of one repository, as they are staged. */
function repository(...edits: readonly (readonly [file: string, from: string, to: string])[]): string {
  const made = folder();
  for (const name of ['one', 'two'])
    cpSync(name === 'one' ? clinic(...edits) : clinic(), join(made, 'apps', name), { recursive: true });
  git(made, 'init', '-q');
  git(made, 'add', '.');
  return made;
}

test('check and test --staged at the top of a repository are of every app of which something is staged', async () => {
  const bad = repository(MISSPELT);
  const checked = await enclaim(bad, 'check', '--staged');
  assert.equal(checked.status, 1);
  assert.match(checked.out, /^apps\/one\/policy\.yaml:24:16: error: no collection "caes"/m);
  assert.match(checked.out, /^ok: apps\/two\/policy\.yaml holds together/m);
  const { ok, apps } = JSON.parse((await enclaim(bad, 'check', '--staged', '--json')).out);
  assert.deepEqual([ok, apps.map((app: { ok: boolean }) => app.ok)], [false, [false, true]]);
  const good = repository();
  assert.equal((await enclaim(good, 'check', '--staged')).status, 0);
  const tested = await enclaim(good, 'test', '--staged');
  assert.equal(tested.status, 0);
  for (const name of ['one', 'two'])
    assert.match(tested.out, new RegExp(`as expected of apps/${name}/policy\\.yaml$`, 'm'));
  git(good, 'commit', '-qm', 'apps');
  assert.match((await enclaim(good, 'test', '--staged')).out, /no case was run/);
  assert.match((await enclaim(good, 'check', '--staged')).out, /nothing was compared/);
});

test('test --staged runs what would be committed, and not what lies in the folder', async () => {
  const made = clinic();
  git(made, 'init', '-q');
  git(made, 'add', '.');
  git(made, 'commit', '-qm', 'first');
  const file = join(made, 'policy.test.yaml');
  const honest = readFileSync(file, 'utf8');
  writeFileSync(file, honest.replace('expect: allow', 'expect: deny'));
  git(made, 'add', '.');
  writeFileSync(file, honest);
  assert.equal((await enclaim(made, 'test')).status, 0);
  assert.equal((await enclaim(made, 'test', '--staged')).status, 1);
});

test('SARIF names files from the top of the repository, wherever the command runs', async () => {
  const made = repository(MISSPELT);
  for (const [cwd, words] of [
    [made, ['apps/one']],
    [join(made, 'apps/one'), []],
    [join(made, 'apps/two'), ['../one']],
  ] as const) {
    const { runs } = JSON.parse((await enclaim(cwd, 'check', '--sarif', ...words)).out);
    const uris = runs[0].results.flatMap(({ locations }: { locations: { physicalLocation: object }[] }) =>
      locations.map(
        ({ physicalLocation }) => (physicalLocation as { artifactLocation: { uri: string } }).artifactLocation.uri,
      ),
    );
    assert.ok(uris.includes('apps/one/policy.yaml'), uris.join());
    assert.ok(
      uris.every((uri: string) => uri.startsWith('apps/one/')),
      uris.join(),
    );
  }
});

test('check takes the file of a policy, too', async () => {
  const made = clinic(MISSPELT);
  const { status, out } = await enclaim(made, 'check', 'policy.yaml');
  assert.equal(status, 1);
  assert.match(out, /^policy\.yaml:24:16: error/m);
  assert.equal((await enclaim(made, 'check', 'policy.yaml', '--policy', 'policy.full.yaml')).status, 2);
});

test('a first policy is compared with nothing, and one that was moved is compared with where it was', async () => {
  const made = folder();
  git(made, 'init', '-q');
  git(made, 'commit', '-q', '--allow-empty', '-m', 'nothing');
  cpSync(CLINIC, join(made, 'clinic'), { recursive: true });
  const inside = join(made, 'clinic');
  const first = await enclaim(inside, 'diff', 'HEAD', '--fail-on', 'weaker');
  assert.equal(first.status, 0, first.err);
  assert.match(first.out, /^HEAD has no policy before it: nothing was compared$/m);
  assert.equal(JSON.parse((await enclaim(inside, 'diff', 'HEAD', '--json')).out).verdict, 'first');
  assert.equal((await enclaim(inside, 'diff', 'nowhere', '--fail-on', 'weaker')).status, 2);
  assert.equal((await enclaim(inside, 'diff', 'HEAD:policy.yaml', '--fail-on', 'weaker')).status, 2);
  git(made, 'add', '.');
  git(made, 'commit', '-qm', 'first');
  renameSync(join(inside, 'policy.yaml'), join(inside, 'policy.yml'));
  const renamed = await enclaim(inside, 'diff', 'HEAD', '--file', 'policy.yml', '--fail-on', 'weaker');
  assert.deepEqual(
    [renamed.status, /compare with HEAD:clinic\/policy\.yaml/.test(renamed.err)],
    [2, true],
    renamed.err,
  );
  renameSync(inside, join(made, 'moved'));
  const moved = await enclaim(join(made, 'moved'), 'diff', 'HEAD', '--file', 'policy.yml', '--fail-on', 'weaker');
  assert.deepEqual([moved.status, /if this one takes its place/.test(moved.err)], [2, true], moved.err);
});

test('check --staged refuses what the index has no content of', async () => {
  for (const [what, make] of [
    [
      'a link',
      (made: string) => {
        renameSync(join(made, 'proto'), join(made, 'elsewhere'));
        symlinkSync('elsewhere', join(made, 'proto'));
      },
    ],
    [
      'a submodule',
      (made: string) => {
        git(join(made, 'proto'), 'init', '-q');
        git(join(made, 'proto'), 'add', '.');
        git(join(made, 'proto'), 'commit', '-qm', 'protos');
      },
    ],
  ] as const) {
    const made = clinic();
    make(made);
    git(made, 'init', '-q');
    git(made, '-c', 'advice.addEmbeddedRepo=false', 'add', '.');
    const { status, err } = await enclaim(made, 'check', '--staged');
    assert.deepEqual([status, /proto is a link or a submodule/.test(err)], [2, true], `${what}: ${err}`);
  }
});

test('diff reads files, revisions and digests, and can block', async () => {
  const made = clinic();
  git(made, 'init', '-q');
  git(made, 'add', '.');
  git(made, 'commit', '-qm', 'first');
  const digest = (await enclaim(made, 'policy', 'digest')).out.trim();
  assert.match(digest, /^sha384:[0-9a-f]{96}$/);
  const file = join(made, 'policy.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replace('retention: P30D', 'retention: P60D'));
  for (const old of ['HEAD', 'HEAD:policy.yaml', digest]) {
    const { status, out } = await enclaim(made, 'diff', old);
    assert.equal(status, 0);
    assert.match(out, /^weaker {7}cases is kept for at most P60D, before P30D\nthe new policy is weaker$/m);
  }
  assert.equal((await enclaim(made, 'diff', 'HEAD', '--fail-on', 'weaker')).status, 1);
  assert.equal((await enclaim(made, 'diff', 'policy.yaml', 'HEAD', '--fail-on', 'weaker')).status, 0);
  const { verdict, changes } = JSON.parse((await enclaim(made, 'diff', 'HEAD', '--json')).out) as {
    verdict: string;
    changes: object[];
  };
  assert.deepEqual([verdict, changes.length], ['weaker', 1]);
});

test('diff refuses what it cannot find', async () => {
  const made = clinic();
  git(made, 'init', '-q');
  for (const old of ['HEAD', 'nonsense', `sha384:${'0'.repeat(96)}`, '--help=x', '-x:policy.yaml']) {
    assert.ok([1, 2].includes((await enclaim(made, 'diff', '--', old)).status ?? 0), old);
  }
});

test('test fails where a case does not come out as expected, and says where', async () => {
  const made = clinic(['policy.test.yaml', 'expect: allow', 'expect: deny']);
  const { status, out } = await enclaim(made, 'test');
  assert.equal(status, 1);
  assert.match(out, /^wrong a case is kept\n {6}policy\.test\.yaml:3: expected deny, found allow/m);
  assert.equal((await enclaim(CLINIC, 'test', '--policy', 'policy.full.yaml')).status, 0);
  assert.equal((await enclaim(CLINIC, 'test', '--policy', 'policy.notify.yaml')).status, 0);
});

test('test refuses a table that is none, with places', async () => {
  const made = clinic(['policy.test.yaml', 'sink: store:cases', 'snk: store:cases']);
  const { status, err } = await enclaim(made, 'test');
  assert.equal(status, 1);
  assert.match(err, /policy\.test\.yaml:6:5 tests\[0\]\.snk: unknown key "snk"; did you mean "sink"\?/);
});

test('policy show writes out every default, and the schema is JSON', async () => {
  const made = folder();
  writeFileSync(join(made, 'policy.json'), (await enclaim(CLINIC, 'policy', 'show')).out);
  const digests = [await enclaim(made, 'policy', 'digest', 'policy.json'), await enclaim(CLINIC, 'policy', 'digest')];
  assert.equal(digests[0]?.out, digests[1]?.out);
  assert.equal(
    (JSON.parse((await enclaim(made, 'policy', 'schema')).out) as { title: string }).title,
    'Enclaim policy',
  );
});

test('policy show --canonical writes the bytes of the digest', async () => {
  // In a process of its own: standard output belongs to the test runner here.
  const program = `
    import { Command } from 'commander';
    import { register } from ${JSON.stringify(join(import.meta.dirname, '../../src/policy/policy.ts'))};
    const program = new Command();
    register(program);
    await program.parseAsync(['policy', 'show', '--canonical'], { from: 'user' });`;
  const bytes = execFileSync(process.execPath, ['--input-type=module', '--eval', program], { cwd: join(CLINIC) });
  assert.equal(`${digestOfCanonical(bytes)}\n`, (await enclaim(CLINIC, 'policy', 'digest')).out);
});

test('policy explain tells which methods share workers, and why others do not', async () => {
  const { out } = await enclaim(CLINIC, 'policy', 'explain', 'workers');
  assert.match(out, /^workers {3}2 classes$/m);
  assert.match(out, /^class 1 {3}clinic\.v1\.Intake\/Read$/m);
  assert.match(
    out,
    /^apart {5}from class 1: clinic\.v1\.Intake\/Read may learn personal\.contact, .*, which clinic\.v1\.Intake\/Submit may not put there: response$/m,
  );
});

test('explain log says when records are under a quote, and what happens without one', async () => {
  const { out } = await enclaim(CLINIC, 'policy', 'explain', 'log');
  assert.match(out, /^quoted {7}by the hardware within 1000 ms; without a quote for ten times as long, .* refused$/m);
});

test('policy explain tells what a claim rests on, with a policy or without', async () => {
  const { out } = await enclaim(CLINIC, 'policy', 'explain', 'access-log');
  assert.match(out, /^strength {2}review: asserted$/m);
  assert.match(out, /^answers {3}soc2\/cc7\.2 Monitoring/m);
  assert.match((await enclaim(folder(), 'policy', 'explain', 'residency')).out, /^needs {5}residency with regions/m);
  assert.equal((await enclaim(CLINIC, 'policy', 'explain', 'nothing')).status, 2);
});

test('policy explain lists all claims by strength and by control, and what none of them is about', async () => {
  const { out } = await enclaim(CLINIC, 'policy', 'explain', 'policy.full.yaml');
  assert.match(out, /^measured {2}one-system +audited-system/m);
  assert.match(out, /^not held {2}at-rest +encryption-at-rest/m);
  assert.match(out, /^gdpr\/art\.28 +no-sharing \(enforced\), subprocessors \(asserted\) Processor$/m);
  assert.match(out, /kinds none is made: bounded-resources, local-first, no-leakage$/m);
  const narrow = clinic();
  const path = join(narrow, 'policy.yaml');
  const about = 'data: [personal.health], controls: [';
  writeFileSync(path, readFileSync(path, 'utf8').replaceAll('    controls: [', `    ${about.replace(', ', '\n    ')}`));
  const overview = JSON.parse((await enclaim(narrow, 'policy', 'explain', '--json')).out);
  assert.deepEqual(overview.uncovered, {
    categories: ['operational', 'personal.contact', 'personal.contact.email', 'personal.identity'],
    methods: ['clinic.v1.Intake/Read', 'clinic.v1.Intake/Submit'],
    collections: ['cases'],
  });
  assert.equal(overview.claims.length, 3);
  assert.equal((await enclaim(narrow, 'policy', 'explain', 'access-log', '--json')).status, 2);
});

test('policy show, digest, explain and diff read the policy that a bundle, evidence or a receipt holds', async () => {
  const made = clinic();
  const { bytes } = await buildBundle(await findApp(made));
  const server = await startPretendServer();
  const channel = await connect(server.target, { references: server.references });
  channel.close();
  const { evidence } = channel.attestation;
  await server.stop();
  const receipt = {
    enclaim: 'receipt/1',
    receipt: 'AA==',
    messages: null,
    evidence: Buffer.from(evidence).toString('base64'),
  };
  for (const [name, content] of [
    ['app.enclaim', bytes],
    ['saved.evidence', evidence],
    ['a.enclaim-receipt', JSON.stringify(receipt, null, 2)],
    ['references.json', JSON.stringify(server.references)],
  ] as const)
    writeFileSync(join(made, name), content);
  const own = (await enclaim(made, 'policy', 'digest')).out;
  assert.match(own, /^sha384:/);
  for (const holder of ['app.enclaim', 'saved.evidence', 'a.enclaim-receipt']) {
    assert.equal((await enclaim(made, 'policy', 'digest', holder)).out, own, holder);
    assert.match((await enclaim(made, 'policy', 'show', holder)).out, /"purpose": "care"/);
    assert.match((await enclaim(made, 'policy', 'explain', holder)).out, /^claims of sha384:/);
    assert.match((await enclaim(made, 'diff', holder, '--fail-on', 'weaker')).out, /^verdict equal|equal/m);
    const trusted = ['--references', 'references.json'];
    assert.equal((await enclaim(made, 'policy', 'digest', holder, ...trusted)).out, own, holder);
  }
  const stranger = { ...server.references, anchors: { ...server.references.anchors, attestationKeys: [] } };
  writeFileSync(join(made, 'references.json'), JSON.stringify(stranger));
  const refused = await enclaim(made, 'policy', 'digest', 'saved.evidence', '--references', 'references.json');
  assert.deepEqual([refused.status, refused.out], [1, '']);
  writeFileSync(join(made, 'cut.evidence'), Buffer.from(evidence).subarray(0, 999));
  assert.equal((await enclaim(made, 'policy', 'show', 'cut.evidence')).status, 1);
  for (const words of [
    ['policy', 'digest', '127.0.0.1:1'],
    ['policy', 'explain', 'x.example:443'],
    ['diff', '[::1]:1'],
  ])
    assert.match((await enclaim(made, ...words)).err, /needs --references/);
});

test('policy digest asks a running machine for its policy, and takes no stranger at their word', async () => {
  const server = await startPretendServer();
  const made = clinic();
  try {
    writeFileSync(join(made, 'references.json'), JSON.stringify(server.references));
    const asked = await enclaim(made, 'policy', 'digest', server.target, '--references', 'references.json');
    assert.equal(asked.out, (await enclaim(made, 'policy', 'digest')).out, asked.err);
    const none = { ...server.references, anchors: { ...server.references.anchors, attestationKeys: [] } };
    writeFileSync(join(made, 'references.json'), JSON.stringify(none));
    assert.equal((await enclaim(made, 'policy', 'digest', server.target, '--references', 'references.json')).status, 1);
  } finally {
    await server.stop();
  }
});

test('policy explain and docs/policy/claims.md say "enforced" of no claim that a boot refuses', async () => {
  const table = readFileSync(join(CLINIC, '../../docs/policy/claims.md'), 'utf8');
  for (const kind of Object.keys(CLAIM_KINDS) as ClaimKind[]) {
    const { out } = await enclaim(CLINIC, 'policy', 'explain', kind);
    const row = table.split('\n').find((line) => line.startsWith(`| ${kind} |`)) ?? '';
    const held = HELD_CLAIMS.has(kind);
    assert.equal(/by nothing yet/.test(out), !held, `explain ${kind}`);
    assert.equal(/^strength/m.test(out), held, `explain ${kind}`);
    assert.equal(/not held yet \|$/.test(row), !held, `docs/policy/claims.md ${kind}`);
  }
});

test('policy interfaces prints what the clinic pins', async () => {
  const { out } = await enclaim(CLINIC, 'policy', 'interfaces');
  const full = readFileSync(join(CLINIC, 'policy.full.yaml'), 'utf8');
  const pins = [...full.matchAll(/interface: (sha256:[0-9a-f]{64})/g)].map(([, pin]) => pin);
  assert.deepEqual(
    pins,
    out
      .split('\n')
      .filter((line) => line.includes('.Intake/'))
      .map((line) => line.split(' ')[0]),
  );
});

test('the hooks and the workflow call commands that there are', async () => {
  const root = join(CLINIC, '../..');
  const program = new Command();
  for (const register of [init, check, diff, runTests, policy]) register(program);
  const texts = ['.pre-commit-hooks.yaml', 'examples/clinic/ci.yaml'].map((file) =>
    readFileSync(join(root, file), 'utf8'),
  );
  const calls = texts.join('\n').matchAll(/(?:entry:|run:) enclaim (\w+)((?: --[a-z-]+)*)/g);
  let seen = 0;
  for (const [, name = '', flags = ''] of calls) {
    const command = program.commands.find((each) => each.name() === name);
    assert.ok(command, name);
    for (const flag of flags.split(' ').filter(Boolean))
      assert.ok(
        command.options.some(({ long }) => long === flag),
        `${name} ${flag}`,
      );
    seen++;
  }
  assert.equal(seen, 5);
});
