/** A witness cosigns one tree for each log, durably before it answers, and its courier takes nothing else from it. */

import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import {
  cosignedMessage,
  formatCheckpoint,
  formatNote,
  formatNoteKey,
  parseCheckpoint,
  parseNote,
  parseWitnessLines,
  signatureLine,
  verifyNote,
  witnessedPath,
} from '../attestation/src/tlog/index.ts';
import { type CosigningKey, cosign } from '../cli/src/witness/signer.ts';
import { askWitness, gatherCosignatures, type WitnessError } from '../client/src/witness/index.ts';
import { openWitness, TestLog, type TestWitness, witnessKeys } from './support/witnessed-log.ts';

const log = new TestLog();

async function post({ address }: { address: string }, body: string | Uint8Array): Promise<[number, string, string]> {
  const response = await fetch(`${address}/add-checkpoint`, { method: 'POST', body });
  return [response.status, response.headers.get('content-type') ?? '', await response.text()];
}

function courier(size: number, branch = '', forkAt = 0): Parameters<typeof askWitness>[1] {
  return { note: log.note(size, branch, forkAt), consistency: async (old) => log.proof(old, size, branch, forkAt) };
}

const asked = ({ address, keys }: TestWitness): Parameters<typeof askWitness>[0] => ({
  url: address,
  keys: keys.map(({ key }) => key),
});

describe('a witness', () => {
  test('cosigns with both keys what continues the last, and shows it', async () => {
    await using witness = await openWitness([log]);
    for (const [old, size] of [
      [0, 3],
      [3, 3],
      [3, 8],
      [8, 1000],
    ] as const) {
      const [status, , lines] = await post(witness, log.request(old, size));
      assert.equal(status, 200, lines);
      const { verified } = await verifyNote(
        log.note(size) + lines,
        witness.keys.map(({ key }) => key),
      );
      assert.equal(verified.length, 2);
      const shown = await fetch(`${witness.address}/${witnessedPath(log.origin)}`);
      const note = await shown.text();
      assert.equal(parseCheckpoint(parseNote(note).text).size, size);
      assert.equal((await verifyNote(note, [log.key, ...witness.keys.map(({ key }) => key)])).verified.length, 3);
    }
  });

  const other = new TestLog('example.com/other');
  const forged = formatNote(parseNote(log.note(9)).text, [log.note(8).slice(parseNote(log.note(8)).text.length + 1)]);
  const refusals: readonly (readonly [string, number, string, RegExp?])[] = [
    ['another origin', 404, other.request(0, 2)],
    ['a signature of another text', 403, `old 5\n\n${forged}`],
    ['a log of this name under another key', 403, new TestLog().request(0, 9)],
    ['an old size above the new', 400, `old 10\n\n${log.note(9)}`],
    ['an old size that is not the last', 409, log.request(4, 9), /^5\n$/],
    ['the old size 0, after the first', 409, log.request(0, 9), /^5\n$/],
    ['a fork', 422, log.request(5, 9, 'fork ')],
    ['another root of the same size', 422, log.request(5, 5, 'fork ')],
    ['a proof where none belongs', 422, log.request(5, 5).replace('old 5\n', `old 5\n${'A'.repeat(43)}=\n`)],
    ['no proof where one belongs', 422, `old 5\n\n${log.note(9)}`],
    ['an empty tree with another root', 422, `old 0\n\n${log.signed(`${log.origin}\n0\n${'A'.repeat(43)}=\n`)}`],
    ['64 hashes of proof', 400, `old 5\n${`${'A'.repeat(43)}=\n`.repeat(64)}\n${log.note(9)}`],
    ['a hash of 31 bytes', 400, `old 5\n${'A'.repeat(42)}==\n\n${log.note(9)}`],
    ['a size with a leading zero', 400, log.request(5, 9).replace('old 5', 'old 05')],
    ['no old size', 400, `\n\n${log.note(9)}`],
    ['what is no checkpoint', 400, `old 5\n\n${log.signed('hello\n')}`],
    ['an unsigned checkpoint', 400, `old 5\n\n${parseNote(log.note(9)).text}`],
    ['nothing', 400, ''],
    ['a body above its limit', 413, 'a'.repeat(128 * 1024 + 1)],
    ['bytes that are no text', 413, '\udc00'],
  ];
  test('refuses everything else with the status of the specification, and stays where it was', async () => {
    await using witness = await openWitness([log]);
    assert.equal((await post(witness, log.request(0, 5)))[0], 200);
    for (const [name, status, body, text = /./] of refusals) {
      const bytes = body === '\udc00' ? Uint8Array.of(0xff) : body;
      const [got, type, answer] = await post(witness, bytes);
      assert.equal(got, status, `${name}: ${answer}`);
      assert.match(answer, text, name);
      if (status === 409) assert.equal(type, 'text/x.tlog.size');
    }
    assert.equal((await post(witness, log.request(5, 9)))[0], 200);
  });

  test('keeps the note of a log that signed two trees of one size', async () => {
    await using witness = await openWitness([log]);
    await post(witness, log.request(0, 5));
    await post(witness, log.request(5, 5, 'fork '));
    await post(witness, log.request(5, 5, 'another '));
    const [line = '', ...more] = witness.said;
    assert.match(line, /signed two trees of size 5/);
    assert.deepEqual(more, []);
    assert.equal(await readFile(line.split(': ').at(-1) ?? '', 'utf8'), log.note(5, 'fork '));
  });

  test('takes one of many requests for one old size, whatever their order', async () => {
    await using witness = await openWitness([log]);
    await post(witness, log.request(0, 5));
    const bodies = Array.from({ length: 24 }, (_, i) => log.request(5, 6 + (i % 3), i % 2 ? 'fork ' : '', 5));
    const answers = await Promise.all(bodies.map((body) => post(witness, body)));
    assert.equal(answers.filter(([status]) => status === 200).length, 1);
    assert.equal(answers.filter(([status]) => status === 409).length, 23);
  });

  test('goes on from what it cosigned before, and from nothing that it did not', async (t) => {
    const keys = witnessKeys();
    const { folder, address, close } = await openWitness([log], { keys });
    t.after(() => rm(folder, { recursive: true }));
    await post({ address }, log.request(0, 5));
    await close();
    {
      await using again = await openWitness([log], { keys, folder });
      assert.deepEqual((await post(again, log.request(0, 7, 'fork '))).toSpliced(1, 1), [409, '5\n']);
    }
    const file = join(folder, witnessedPath(log.origin));
    const kept = await readFile(file, 'utf8');
    const elsewhere = new TestLog('example.com/else').note(9);
    for (const bad of ['', kept.slice(0, -9), log.note(9), elsewhere, kept.replace('\n5\n', '\n4\n')]) {
      await writeFile(file, bad);
      await assert.rejects(openWitness([log], { keys, folder }), /is not what this witness cosigned last/);
    }
    await writeFile(file, kept);
    await assert.rejects(openWitness([log], { folder }), /is not what this witness cosigned last/);
  });

  test('cosigns nothing once another process has written there, nor without a clock', async () => {
    await using witness = await openWitness([log]);
    await post(witness, log.request(0, 5));
    const file = join(witness.folder, witnessedPath(log.origin));
    await writeFile(file, (await readFile(file, 'utf8')).replace('\n5\n', '\n6\n'));
    assert.equal((await post(witness, log.request(5, 9)))[0], 500);
    await using asleep = await openWitness([log], { now: () => 0 });
    assert.equal((await post(asleep, log.request(0, 5)))[0], 500);
    assert.deepEqual(await readdir(asleep.folder), []);
  });

  test('answers other paths and methods with nothing of use', async () => {
    await using witness = await openWitness([log]);
    const status = async (method: string, path: string): Promise<number> =>
      (await fetch(`${witness.address}${path}`, { method })).status;
    assert.equal(await status('GET', '/add-checkpoint'), 405);
    assert.equal(await status('GET', `/${witnessedPath(log.origin)}`), 404);
    assert.equal(await status('GET', `/${witnessedPath('example.com/else')}`), 404);
    assert.equal(await status('POST', `/x/../${witnessedPath(log.origin)}`), 404);
  });
});

/** A server that answers as told, in place of a witness. */
async function liar(listener: RequestListener): Promise<AsyncDisposable & { url: string; asked: () => number }> {
  let count = 0;
  const server = createServer((request, response) => {
    count++;
    request.resume().once('end', () => listener(request, response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    asked: () => count,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('a courier', () => {
  test('asks from the size that the witness has, larger or smaller than remembered', async () => {
    await using witness = await openWitness([log]);
    for (const [size, remembered] of [
      [5, 0],
      [9, 0],
      [12, 9],
      [20, 13],
      [20, 20],
      [30, 20],
    ] as const) {
      const { lines, signatures } = await askWitness(asked(witness), courier(size), { remembered });
      assert.deepEqual([lines.length, signatures.length], [2, 2], `${size} from ${remembered}`);
    }
  });

  test('tells a log that went back from one that forked, and one that is not witnessed', async () => {
    await using witness = await openWitness([log]);
    await askWitness(asked(witness), courier(20));
    const code = (size: number, branch = ''): Promise<string> =>
      askWitness(asked(witness), courier(size, branch)).then(
        () => 'cosigned',
        (error: WitnessError) => error.code,
      );
    assert.deepEqual([await code(19), await code(20, 'fork '), await code(21, 'fork ')], ['ahead', 'fork', 'fork']);
    await using stranger = await openWitness([new TestLog('example.com/else')]);
    await assert.rejects(askWitness(asked(stranger), courier(2)), { name: 'WitnessError', code: 'unknown' });
  });

  test('passes on no answer of a liar, and is held up by none', async () => {
    const keys = witnessKeys();
    const notes = keys.map(({ key }) => key);
    const text = parseNote(log.note(5)).text;
    const now = BigInt(Math.floor(Date.now() / 1000));
    const other = formatCheckpoint({ ...parseCheckpoint(text), size: 6 });
    const longer = `${text}\nmore\n`;
    const [first] = keys as [CosigningKey];
    const injected = signatureLine(
      first.key,
      sign(null, cosignedMessage(first.key, longer, now), first.privateKey),
      now,
    );
    const answers: readonly (readonly [string, string, RequestListener])[] = [
      ['the second 0', 'time', (_q, r) => r.end(cosign(keys, text, 0n).join(''))],
      ['last year', 'time', (_q, r) => r.end(cosign(keys, text, now - 31_536_000n).join(''))],
      ['next year', 'time', (_q, r) => r.end(cosign(keys, text, now + 31_536_000n).join(''))],
      ['a time beyond every clock', 'protocol', (_q, r) => r.end(cosign(keys, text, 2n ** 63n).join(''))],
      ['another size', 'protocol', (_q, r) => r.end(cosign(keys, other, now).join(''))],
      ['keys of another', 'protocol', (_q, r) => r.end(cosign(witnessKeys(), text, now).join(''))],
      ['another text, by an empty line', 'protocol', (_q, r) => r.end(`more\n\n${injected}`)],
      ['nothing', 'protocol', (_q, r) => r.end('')],
      ['10 MB', 'protocol', (_q, r) => r.end('— a b\n'.repeat(1_700_000))],
      [
        '10 MB of size',
        'protocol',
        (_q, r) => r.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end('1'.repeat(1e7)),
      ],
      [
        '101 signatures',
        'protocol',
        (_q, r) =>
          r.end(
            Array.from({ length: 101 }, (_, i) => cosign(keys.slice(0, 1), text, now - BigInt(i)).join('')).join(''),
          ),
      ],
      ['no size', 'protocol', (_q, r) => r.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end('five\n')],
      [
        'the size that was asked from',
        'protocol',
        (_q, r) => r.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end('0\n'),
      ],
      [
        'a larger size',
        'ahead',
        (_q, r) => r.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end('900719925474099\n'),
      ],
      ['a redirection', 'protocol', (_q, r) => r.writeHead(307, { location: 'http://127.0.0.1:1/' }).end()],
      ['an error', 'protocol', (_q, r) => r.writeHead(503).end()],
      ['a closed connection', 'unreachable', (q) => q.socket.destroy()],
      ['silence', 'timeout', () => {}],
      ['half an answer', 'timeout', (_q, r) => void r.writeHead(200).write('— ')],
    ];
    for (const [name, code, listener] of answers) {
      await using server = await liar(listener);
      const answer = askWitness({ url: server.url, keys: notes }, courier(5), { timeout: 1000 });
      await assert.rejects(answer, { name: 'WitnessError', code }, name);
    }
    const sizes = [1, 2, 3, 4, 5].values();
    await using changing = await liar((_q, r) =>
      r.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end(`${sizes.next().value}\n`),
    );
    await assert.rejects(askWitness({ url: changing.url, keys: notes }, courier(5)), { code: 'protocol' });
    assert.equal(changing.asked(), 3);
    for (const url of ['file:///etc/passwd', 'ftp://127.0.0.1', 'http://user:word@127.0.0.1', 'nowhere']) {
      await assert.rejects(askWitness({ url, keys: notes }, courier(5)), { code: 'unreachable' });
    }
  });

  test('reaches a quorum beside witnesses that lie', async () => {
    await using one = await openWitness([log], { keys: witnessKeys('example.com/one') });
    await using two = await openWitness([log], { keys: witnessKeys('example.com/two') });
    await using silent = await liar((_q, response) => response.writeHead(500).end());
    const line = (name: string, { keys, address }: TestWitness, at: number, url = address): string =>
      `witness ${name} ${formatNoteKey((keys[at] as CosigningKey).key)} ${url}`;
    const witnesses = [line('a', one, 0), line('b', one, 1), line('c', two, 1), line('d', two, 0, silent.url)];
    const reached = async (...rest: string[]): Promise<[boolean, number, number]> => {
      const policy = parseWitnessLines([...witnesses, ...rest]);
      const { note, reached, failures } = await gatherCosignatures(policy, courier(7));
      const keys = [...policy.witnesses.values()].map(({ key }) => key);
      return [reached, (await verifyNote(note, [log.key, ...keys])).verified.length, failures.length];
    };
    assert.deepEqual(await reached('group all3 3 a b c', 'quorum all3'), [true, 4, 1]);
    assert.deepEqual(await reached('group all4 all a b c d', 'quorum all4'), [false, 4, 1]);
  });
});
