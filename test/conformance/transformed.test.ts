/**
 * The conformance run finds files by their roles and takes them in PEM or DER: fed with a copy of the vectors in which every
 * file has another name and certificates, lists and keys the other encoding, it says what it says of the vectors themselves.
 */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { parsePem } from '../../attestation/src/x509/index.ts';
import { needs, VECTORS } from '../support/machine-needs.ts';
import type { Case } from './topic.ts';

/** Roles whose files hold certificates or a list of revoked ones, and such that hold a public key. */
const CERTIFICATES = ['vcek', 'vlek', 'ask', 'trusted_ark', 'trust', 'trusted_root', 'chain', 'root'];
const LISTS = ['crl'];
const KEYS = ['ak', 'id_key', 'author_key'];

interface Manifest {
  readonly topic: string;
  readonly cases: readonly Case[];
}

interface Result {
  readonly topics: Readonly<Record<string, { exact: number; total: number; misses: object[]; unfed: object[] }>>;
}

test('other names and other encodings give the same results', needs('vectors'), async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-transformed-'));
  try {
    const changed = await transform(folder);
    const [before, after] = await Promise.all([VECTORS, folder].map(run));
    assert.ok(before !== undefined && after !== undefined);
    assert.deepEqual(after, before);
    const total = Object.values(before.topics).reduce((sum, { total }) => sum + total, 0);
    t.diagnostic(`${total} cases, ${changed.renamed} files renamed, ${changed.encoded} of them in the other encoding`);
    assert.ok(total > 0 && changed.renamed > 0 && changed.encoded > 0);
  } finally {
    await rm(folder, { recursive: true });
  }
});

/** What the run says, in either outcome. */
async function run(vectors: string): Promise<Result> {
  const words = [join(import.meta.dirname, 'run.ts'), '--json', '--vectors', vectors];
  const told = promisify(execFile)(process.execPath, words, { maxBuffer: 1 << 26 });
  const { stdout } = await told.catch((failed: { stdout: string }) => failed);
  return JSON.parse(stdout) as Result;
}

async function transform(to: string): Promise<{ renamed: number; encoded: number }> {
  const done = { renamed: 0, encoded: 0 };
  for (const { name } of (await readdir(VECTORS, { withFileTypes: true })).filter((one) => one.isDirectory())) {
    const manifest = JSON.parse(await readFile(join(VECTORS, name, 'manifest.json'), 'utf8')) as Manifest;
    // A file that stands in two roles is written for each: only a role says what is in it.
    const written = new Map<string, string>();
    const cases = [];
    for (const one of manifest.cases) {
      const files: Record<string, string | string[]> = {};
      for (const [role, paths] of Object.entries(one.files)) {
        const renamed = await Promise.all(
          [paths].flat().map(async (path) => {
            const key = `${role} ${path}`;
            const other = written.get(key) ?? otherName(path, written.size);
            if (!written.has(key)) {
              written.set(key, other);
              const [bytes, encoded] = otherEncoding(role, await readFile(join(VECTORS, name, path)));
              done.renamed++;
              if (encoded) done.encoded++;
              const full = join(to, `topic of ${name}`, other);
              await mkdir(dirname(full), { recursive: true });
              await writeFile(full, bytes);
            }
            return other;
          }),
        );
        files[role] = typeof paths === 'string' ? (renamed[0] ?? '') : renamed;
      }
      cases.push({ ...one, files });
    }
    await mkdir(join(to, `topic of ${name}`), { recursive: true });
    await writeFile(join(to, `topic of ${name}`, 'manifest.json'), JSON.stringify({ ...manifest, cases }));
  }
  return done;
}

/** The path of a tile is part of the log's format; everything else has a number for a name. */
function otherName(path: string, number: number): string {
  const tile = /\/(tile\/.*)$/.exec(path)?.[1];
  return tile === undefined ? `files/${number}` : `log/${tile}`;
}

function otherEncoding(role: string, file: Buffer): [Buffer, boolean] {
  const pem = file.includes('-----BEGIN ');
  if (CERTIFICATES.includes(role)) {
    return [pem ? Buffer.concat(parsePem(file.toString('latin1'), 'CERTIFICATE')) : pemOf('CERTIFICATE', file), true];
  }
  if (LISTS.includes(role)) return [pem ? file : pemOf('X509 CRL', file), !pem];
  if (KEYS.includes(role)) {
    return [pem ? createPublicKey(file).export({ format: 'der', type: 'spki' }) : pemOf('PUBLIC KEY', file), true];
  }
  return [file, false];
}

function pemOf(label: string, der: Buffer): Buffer {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return Buffer.from(`-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`);
}
