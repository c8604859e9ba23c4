/**
 * Generates the TypeScript of every room's .proto files; `--check` compares with what is committed
 * instead.
 */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A folder of .proto files, the part of it that is wanted, and the folders that hold code generated
 * from it.
 */
const TARGETS: readonly { readonly proto: string; readonly only?: string; readonly out: readonly string[] }[] = [
  { proto: 'attestation/proto', out: ['attestation/src/gen'] },
  { proto: 'runtime/proto', out: ['runtime/src/gen'] },
  { proto: 'runtime/proto', only: 'runtime/proto/grpc/reflection', out: ['client/src/gen'] },
  { proto: 'runtime/proto', only: 'runtime/proto/grpc/health', out: ['cli/src/gen'] },
  { proto: 'policy-schema/proto', out: ['policy-schema/src/gen'] },
];

const root = join(import.meta.dirname, '..');
const check = process.argv.includes('--check');
let stale = 0;

for (const { proto, only, out } of TARGETS) {
  for (const folder of out) {
    const target = check ? mkdtempSync(join(tmpdir(), 'enclaim-generate-')) : join(root, folder);
    rmSync(target, { recursive: true, force: true });
    generate(join(root, proto), target, only);
    if (check) {
      stale += compare(target, join(root, folder), folder);
      rmSync(target, { recursive: true });
    }
  }
}
if (stale > 0) {
  console.error(`${stale} generated files differ from their .proto: run npm run generate`);
  process.exitCode = 1;
}

function generate(proto: string, out: string, only?: string): void {
  const template = {
    version: 'v2',
    clean: false,
    plugins: [
      {
        local: [process.execPath, join(root, 'node_modules/@bufbuild/protoc-gen-es/bin/protoc-gen-es')],
        out,
        opt: ['target=js+dts', 'import_extension=js'],
      },
    ],
  };
  const buf = join(root, 'node_modules/@bufbuild/buf/bin/buf');
  execFileSync(
    process.execPath,
    [buf, 'generate', proto, '--template', JSON.stringify(template), ...(only ? ['--path', join(root, only)] : [])],
    {
      stdio: 'inherit',
      cwd: root,
    },
  );
}

function compare(made: string, kept: string, name: string): number {
  const files = new Set([made, kept].flatMap((dir) => (existsSync(dir) ? filesBelow(dir) : [])));
  let different = 0;
  for (const file of files) {
    const [a, b] = [join(made, file), join(kept, file)];
    if (existsSync(a) && existsSync(b) && readFileSync(a).equals(readFileSync(b))) continue;
    console.error(`stale: ${name}/${file}`);
    different++;
  }
  return different;
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1));
}
