/** Packages as npm installs them: without it, what is published could run in this repository alone. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { type Packed, packAll, publicPaths } from '../scripts/pack.ts';
import { clinicBundle } from './support/app.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { HANGS_MS } from './support/eventually.ts';
import { needs } from './support/machine-needs.ts';
import { clientIn, oldestNode, PackedApp, STRICT } from './support/packed-app.ts';

const root = join(import.meta.dirname, '..');
let folder: string;
let packed: Packed[];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-install-'));
  packed = await packAll(join(folder, 'tarballs'));
});
after(() => rm(folder, { recursive: true }));

/** Of `@scope/name/path`, `@scope/name`. */
const nameOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

test('the page of packages names each public path of theirs, and no other', async () => {
  const page = await readFile(join(root, 'docs/client/typescript.md'), 'utf8');
  for (const { name } of packed.filter((each) => /^@enclaim\/(?!app$)/.test(each.name))) {
    const row = page.split('\n').find((line) => line.startsWith(`| \`${name}\` |`)) ?? '';
    const named = [...row.matchAll(/`(\.(?:\/[^`]+)?)`/g)].map(([, path]) => path).sort();
    const open = publicPaths(name.slice('@enclaim/'.length));
    assert.notEqual(named.length, 0, name);
    assert.deepEqual(named, [...open].sort(), name);
  }
});

describe('installed into an empty folder', needs('npm registry'), () => {
  let server: AttestedRuntime;
  let installed: PackedApp;
  let app: string;
  const node = (...words: string[]) => installed.node(...words);

  /** A program that imports every entry of a package. */
  const importsOf = async (name: string): Promise<string> => {
    const { exports } = JSON.parse(await readFile(join(app, 'node_modules', name, 'package.json'), 'utf8'));
    const paths = Object.keys(exports).filter((path) => !path.includes('*') && !path.endsWith('.json'));
    return paths.map((path) => `await import(${JSON.stringify(name + path.slice(1))});`).join('\n');
  };

  before(async () => {
    server = await bootAttested(await clinicBundle());
    installed = await PackedApp.install(join(folder, 'app'), packed, join(root, 'examples/clinic/proto'));
    app = installed.folder;
  });
  after(() => server?.stop());

  test('each imports only what it declares, and each import leads to a file', async (t) => {
    for (const { name, unpackedSize, files } of packed) {
      t.diagnostic(`${name}: ${files} files, ${Math.ceil(unpackedSize / 1024)} KiB unpacked`);
      const at = join(app, 'node_modules', name);
      const { dependencies = {}, exports } = JSON.parse(await readFile(join(at, 'package.json'), 'utf8'));
      const declared = new Set([...Object.keys(dependencies), name]);
      const sources = globSync('**/*.{js,d.ts}', { cwd: at, exclude: ['**/node_modules/**'] });
      assert(sources.length > 0);
      for (const file of sources) {
        const text = await readFile(join(at, file), 'utf8');
        for (const [, specifier = ''] of text.matchAll(IMPORTS)) {
          assert(!specifier.endsWith('.ts'), `${name}/${file}: ${specifier}`);
          if (specifier.startsWith('.')) {
            const target = join(at, dirname(file), specifier);
            const wanted = file.endsWith('.d.ts') ? target.replace(/\.js$/, '.d.ts') : target;
            await readFile(wanted).catch(() => assert.fail(`${name}/${file}: ${specifier} is not there`));
          } else if (!specifier.startsWith('#') && !isBuiltin(specifier)) {
            assert(declared.has(nameOf(specifier)), `${name}/${file}: ${specifier} is not declared`);
          }
        }
      }
      const leads = Object.values(exports as object).flatMap((to) =>
        typeof to === 'string' ? [to] : Object.values(to),
      );
      for (const lead of leads as string[]) if (!lead.includes('*')) await readFile(join(at, lead));
      for (const file of ['README.md', 'LICENSE']) assert((await readFile(join(at, file), 'utf8')).length > 0);
    }
  });

  test('every entry of every package loads, and none of our .ts', async () => {
    for (const { name } of packed) {
      const at = join(app, 'node_modules', name);
      await node('--input-type=module', '--eval', await importsOf(name));
      assert.deepEqual(
        globSync('**/*.ts', { cwd: at }).filter((file) => !file.endsWith('.d.ts')),
        [],
      );
    }
  });

  test("the client that README shows is typed, and a server's answer comes with its receipt", async () => {
    const shown = await clientIn('README.md');
    assert.equal(shown, await clientIn('scripts/packages/client.md'), 'the package shows the same');
    await writeFile(join(app, 'references.json'), JSON.stringify(server.references));
    const client = `${shown.replace("'intake.example:443'", JSON.stringify(server.target))}
      const id: string = message.caseId;
      const method: string = receipt.body.method;
      console.log(JSON.stringify([id.length > 0, method, receipt.messages]));\n`;
    assert.deepEqual(await installed.runClient(client), [true, 'clinic.v1.Intake/Submit', 'both']);
  });

  test('the same on the oldest Node that the packages name, which also verifies the receipt later', async () => {
    const old = await oldestNode(join(folder, 'node22'));
    const { stdout: version } = await installed.by(old, '--version');
    for (const { name } of packed) {
      const { engines } = JSON.parse(await readFile(join(app, 'node_modules', name, 'package.json'), 'utf8'));
      const [major, minor] = version.slice(1).split('.');
      assert.equal(engines.node, name === 'enclaim' ? '>=26.10' : `>=${major}.${minor}`, name);
      if (name !== 'enclaim') await installed.by(old, '--input-type=module', '--eval', await importsOf(name));
    }
    const shown = (await clientIn('README.md')).replace("'intake.example:443'", JSON.stringify(server.target));
    const kept = await installed.answerOf(shown, JSON.stringify(server.references), old);
    assert.equal(kept.method, 'clinic.v1.Intake/Submit');
    await writeFile(join(app, 'later.json'), kept.references);
    const verifies = `import { readFile } from 'node:fs/promises';
      import { parseReceiptFile, verifyReceiptFile } from '@enclaim/client';
      import { parseReferences } from '@enclaim/attestation';
      const file = parseReceiptFile(await readFile('it.enclaim-receipt'));
      const { verdict, messages } = await verifyReceiptFile(file, { references: parseReferences(await readFile('later.json')) });
      console.log(verdict.ok, messages);`;
    assert.equal((await installed.by(old, '--input-type=module', '--eval', verifies)).stdout, 'true both\n');
    const routes = `import { routeFetches } from '@enclaim/client/network';
      routeFetches({});
      try { routeFetches({ https_proxy: 'http://127.0.0.1:1' }); } catch ({ code }) { console.log(code); }`;
    assert.equal((await installed.by(old, '--input-type=module', '--eval', routes)).stdout, 'unreachable\n');
  });

  test('what the types refuse is refused: a field that no message has, a receipt of no call', async () => {
    const wrong = [
      "server.client(Intake).submit({ patent: { id: 'p1' } });",
      'server.client(Intake).submitted({});',
      '(await server.client(Intake).submit({})).receipt.missing;',
    ];
    const head =
      "import type { AttestedChannel } from '@enclaim/client';\nimport { Intake } from './gen/clinic/v1/intake_pb.js';\ndeclare const server: AttestedChannel;\n";
    const lines = wrong.map((line) => `// @ts-expect-error refused\nvoid ${line}\n`);
    await writeFile(join(app, 'wrong.ts'), `${head}${lines.join('')}`);
    await node('node_modules/typescript/bin/tsc', ...STRICT, '--target', 'esnext', '--noEmit', 'wrong.ts');
  });

  test('the verifier of what was kept is bundled for browsers, without a module of Node', async () => {
    await installed.bundleVerifier();
    const names = 'console.log(Object.keys(enclaim))';
    await installed.write('names.cjs', `${await readFile(join(app, 'page.js'), 'utf8')}\n${names}`);
    assert.match((await node('names.cjs')).stdout, /verifySaved/);
  });

  test('types of handlers are for code that apps share', async () => {
    const [code] = [...(await readFile(join(root, 'scripts/packages/app.md'), 'utf8')).matchAll(/```ts\n(.*?)```/gs)];
    await writeFile(join(app, 'shared.ts'), code?.[1] ?? '');
    await node('node_modules/typescript/bin/tsc', ...STRICT, '--target', 'esnext', '--noEmit', 'shared.ts');
  });

  test('the receipt of its answer is verified in a browser as in Node', needs('browser'), async () => {
    const shown = (await clientIn('README.md')).replace("'intake.example:443'", JSON.stringify(server.target));
    const kept = await installed.answerOf(shown, JSON.stringify(server.references));
    assert.equal(kept.method, 'clinic.v1.Intake/Submit');
    await installed.verifyInBrowser(kept);
  });

  test('the command does what needs no checkout, and says what does', async () => {
    const enclaim = (...words: string[]) => node('node_modules/enclaim/cli/src/main.js', ...words);
    await enclaim('init', 'notes');
    for (const words of [
      ['gen', 'notes'],
      ['check', 'notes'],
      ['test', 'notes'],
    ])
      await enclaim(...words).catch((error) => assert.fail(`${words.join(' ')}: ${error.stderr}`));
    const same = await enclaim('diff', 'notes/policy.yaml', 'notes/policy.yaml');
    assert.equal(typeof same.stdout, 'string');
    assert.match((await enclaim('bundle', 'notes', '-o', 'notes.enclaim')).stdout, /bundle sha384:/);
    const submit = ['clinic.v1.Intake/Submit', '-d', '{"patient":{"id":"p1"}}', '--references', 'references.json'];
    await writeFile(join(app, 'references.json'), JSON.stringify(server.references));
    const called = await enclaim('call', server.target, ...submit, '--save-receipt', 'it.enclaim-receipt');
    assert.match(JSON.parse(called.stdout).caseId, /./);
    const [ak = ''] = /sha256:[0-9a-f]{64}/.exec(called.stderr.slice(called.stderr.indexOf('--ak'))) ?? [];
    await enclaim('verify', 'it.enclaim-receipt', '--references', 'references.json', '--ak', ak);
    const { man } = JSON.parse(await readFile(join(app, 'node_modules/enclaim/package.json'), 'utf8'));
    assert.match(await readFile(join(app, 'node_modules/enclaim', man[0]), 'utf8'), /^\.TH ENCLAIM 1 /);
    const build = await enclaim('image', 'build').catch((error: { code: number; stderr: string }) => error);
    assert('code' in build && build.code === 1);
    assert.match(build.stderr, /^enclaim: ImageError source-invalid: [^\n]*use a checkout\n$/);
  });

  test('the command runs an app without a VM, with workers that may read its packages', async () => {
    const main = 'node_modules/enclaim/cli/src/main.js';
    await node(main, 'init', 'run');
    const dev = spawn(process.execPath, [main, 'dev', 'run', '--state', 'state'], {
      cwd: app,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      const [target] = (await once(createInterface({ input: dev.stdout }), 'line', {
        signal: AbortSignal.timeout(HANGS_MS),
      })) as [string];
      const put = ['call', target, 'run.v1.Notes/Put', '-d', '{"text":"4711"}'];
      const { stderr } = await node(main, ...put, '--references', 'state/references.json');
      assert.match(stderr, /receipt: ok/);
    } finally {
      dev.kill('SIGTERM');
    }
  });
});

/** Static imports, and those of `import(…)` in code and declarations. */
const IMPORTS = /(?:^\s*(?:import|export)\b[^'"`;]*?from\s*|^\s*import\s*|\bimport\()['"]([^'"]+)['"]/gm;
