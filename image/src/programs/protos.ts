/**
 * Users' .proto files → one FileDescriptorSet with imports and source positions, compiled by buf
 * away from anything else.
 */

import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PolicyError, type PolicyIssue } from '@enclaim/policy-schema';
import { columnOfError } from './proto-columns.ts';

const MAX_FILES = 2000;
const MAX_BYTES = 8 * 1024 * 1024;
const TIMEOUT_MS = 120_000;

/** A line that `buf build --error-format=json` writes for each error. */
interface BufError {
  readonly path?: string;
  readonly start_line?: number;
  readonly start_column?: number;
  readonly message?: string;
}

/**
 * Compiles every .proto file below a folder. `enclaim/handling.proto` can be imported. The network
 * cannot be reached, and no configuration in the folder or of the user counts.
 * @param dir folder that import paths are relative to
 * @returns bytes of a FileDescriptorSet
 * @throws PolicyError `descriptor` with file, line and column of each error, a misspelt option
 *   among them; `size`
 */
export async function compileProtos(dir: string): Promise<Uint8Array> {
  const work = await mkdtemp(join(tmpdir(), 'enclaim-protos-'));
  try {
    const source = join(work, 'source');
    await copyProtos(dir, source);
    const handling = join(source, 'enclaim/handling.proto');
    await mkdir(dirname(handling), { recursive: true });
    await copyFile(fileURLToPath(import.meta.resolve('@enclaim/policy-schema/proto/enclaim/handling.proto')), handling);
    const output = join(work, 'descriptors.binpb');
    await runBuf(['build', '--output', output, '--error-format', 'json'], source, work, dir);
    return new Uint8Array(await readFile(output));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function copyProtos(from: string, to: string): Promise<void> {
  const entries = await readdir(from, { recursive: true, withFileTypes: true }).catch((cause) => {
    throw refused([{ message: `cannot read ${from}` }], cause);
  });
  // A link's target is not in the folder. If links were skipped, their targets would not be
  // compared. If they were followed, the target could belong to another user.
  const links = entries.filter((entry) => entry.isSymbolicLink());
  if (links.length > 0)
    throw refused(
      links.map(({ parentPath, name }) => ({
        path: relative(from, join(parentPath, name)),
        message: 'a link, which is not followed: put what it leads to in its place',
      })),
      undefined,
      from,
    );
  const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith('.proto'));
  if (files.length === 0) throw refused([{ message: `no .proto file below ${from}` }]);
  let bytes = 0;
  for (const { parentPath, name } of files) {
    const file = join(parentPath, name);
    bytes += (await stat(file)).size;
    if (files.length > MAX_FILES || bytes > MAX_BYTES) {
      throw refused([{ message: `more than ${MAX_FILES} files or ${MAX_BYTES} bytes of .proto below ${from}` }]);
    }
    const target = join(to, relative(from, file));
    await mkdir(dirname(target), { recursive: true });
    await copyFile(file, target);
  }
}

function runBuf(args: readonly string[], cwd: string, home: string, dir: string): Promise<void> {
  const require = createRequire(import.meta.url);
  const buf = join(dirname(require.resolve('@bufbuild/buf/package.json')), 'bin/buf');
  // An empty home: neither a cache nor a login nor a configuration of the user.
  const env = { PATH: process.env.PATH ?? '', HOME: home, BUF_CACHE_DIR: join(home, 'cache') };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [buf, ...args], { cwd, env, timeout: TIMEOUT_MS }, (cause, stdout, stderr) => {
      if (!cause) resolve();
      else reject(refused(bufErrors(`${stdout}\n${stderr}`), cause, dir));
    });
  });
}

function bufErrors(output: string): BufError[] {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  const errors = lines.flatMap((line): BufError[] => {
    try {
      const value: unknown = JSON.parse(line);
      return typeof value === 'object' && value !== null ? [value] : [];
    } catch {
      return [];
    }
  });
  return errors.length > 0 ? errors : [{ message: lines.join('; ').slice(0, 1000) || 'buf failed and said nothing' }];
}

function refused(errors: readonly BufError[], cause?: unknown, dir = ''): PolicyError {
  const issues = errors.map(
    ({ path, start_line, start_column, message }): PolicyIssue => ({
      code: 'descriptor',
      severity: 'error',
      message: message ?? 'cannot be compiled',
      pointer: '',
      ...(path === undefined ? {} : { file: join(dir, path) }),
      ...(start_line === undefined ? {} : { line: start_line }),
      ...(path === undefined || start_line === undefined || start_column === undefined
        ? {}
        : { column: columnOfError(join(dir, path), start_line, start_column) }),
    }),
  );
  return new PolicyError(issues, { cause });
}
