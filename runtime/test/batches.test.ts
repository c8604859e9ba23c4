/** Quote batches and receipts: one signature for many, and each of them with its own way to it. */

import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, sign, verify, X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';
import { batchRoot } from '@enclaim/attestation/batch';
import { concat, toHex, utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { EvidenceError } from '@enclaim/attestation/errors';
import { labelBytes } from '@enclaim/attestation/labels';
import { leafHash } from '@enclaim/attestation/merkle';
import {
  checkReceiptMessages,
  commitment,
  encodeReceipt,
  encodeReceiptBody,
  type ReceiptBody,
  receiptsMessage,
  verifyReceipt,
} from '@enclaim/attestation/receipt';
import { ed25519Key, ed25519Spki } from '@enclaim/attestation/statement';
import { parseCertificate } from '@enclaim/attestation/x509';
import { decode } from 'cborg';
import { resultOf } from '../src/batcher.ts';
import { makeBootKeys } from '../src/boot/keys.ts';
import { RefusalError } from '../src/errors.ts';
import type { HardwareEvidence } from '../src/hardware/platform.ts';
import { QuoteBatcher } from '../src/hardware/quote-batch.ts';
import { ReceiptSigner } from '../src/log/receipts.ts';
import { Commitment } from '../src/message/commitment.ts';

describe('quote batches', () => {
  const hardware: HardwareEvidence = { case: 'tpm', value: {} };

  test('what arrives while a signature runs shares the next', async () => {
    const roots: string[] = [];
    const turn = Promise.withResolvers<void>();
    const batcher = new QuoteBatcher(async (root) => {
      roots.push(toHex(root));
      await turn.promise;
      return hardware;
    });
    const first = batcher.add(utf8('first'));
    await new Promise((resolve) => setImmediate(resolve)); // its signature is under way now
    const others = Array.from({ length: 49 }, (_, i) => batcher.add(utf8(`leaf ${i}`)));
    turn.resolve();
    const signed = await Promise.all([first, ...others]);
    assert.equal(roots.length, 2, 'the first alone, then all the others at once');
    for (const { leaf } of signed) assert(roots.includes(toHex(batchRoot(leaf))));
    assert.deepEqual(
      signed.map(({ leaf }) => leaf.data),
      [utf8('first'), ...Array.from({ length: 49 }, (_, i) => utf8(`leaf ${i}`))],
    );
  });

  test('sizes and places tell nothing of how many ask, or in which order', async () => {
    const batcher = new QuoteBatcher(async () => hardware);
    const places = new Set<number>();
    for (const [count, size] of [
      [1, 64],
      [2, 64],
      [64, 64],
      [65, 512],
      [512, 512],
      [513, 4096],
    ] as const) {
      const signed = await Promise.all(Array.from({ length: count }, (_, i) => batcher.add(utf8(`${i}`))));
      assert.deepEqual([...new Set(signed.map(({ leaf }) => leaf.size))], [size]);
      assert.equal(new Set(signed.map(({ leaf }) => leaf.index)).size, count, 'a place of its own for each');
      assert.equal(new Set(signed.map(({ leaf }) => toHex(batchRoot(leaf)))).size, 1);
      for (const { leaf } of signed) places.add(leaf.index);
    }
    for (let run = 0; run < 64; run++) places.add((await batcher.add(utf8('alone'))).leaf.index);
    const first = await Promise.all(Array.from({ length: 64 }, () => batcher.add(utf8('alike'))));
    assert.notDeepEqual(
      first.map(({ leaf }) => leaf.index),
      Array.from({ length: 64 }, (_, i) => i),
    );
    const [a, b] = await Promise.all([batcher.add(utf8('same')), batcher.add(utf8('same'))]);
    const again = await batcher.add(utf8('same'));
    assert.deepEqual(batchRoot(a.leaf), batchRoot(b.leaf));
    assert.notDeepEqual(batchRoot(a.leaf), batchRoot(again.leaf), 'padding is never the same twice');
  });

  test('a leaf that is made late states what holds when its batch begins', async () => {
    let turn = Promise.withResolvers<void>();
    let state = 'before';
    const batcher = new QuoteBatcher(async () => {
      await turn.promise;
      return hardware;
    });
    const first = batcher.add(utf8('first'));
    await new Promise((resolve) => setImmediate(resolve));
    const late = batcher.addLatest(() => utf8(state));
    state = 'after';
    const { resolve } = turn;
    turn = Promise.withResolvers<void>();
    resolve();
    await first;
    turn.resolve();
    assert.deepEqual((await late).leaf.data, utf8('after'));
  });

  test('a failing signer fails its batch and no other', async () => {
    let failing = true;
    const batcher = new QuoteBatcher(async () => {
      if (failing) throw new Error('busy');
      return hardware;
    });
    await assert.rejects(batcher.add(utf8('a')), /busy/);
    failing = false;
    assert.deepEqual((await batcher.add(utf8('b'))).leaf.data, utf8('b'));
  });

  test('beyond the limit of waiting leaves, more are refused', async () => {
    const turn = Promise.withResolvers<HardwareEvidence>();
    const batcher = new QuoteBatcher(() => turn.promise);
    const waiting = Array.from({ length: 4095 }, (_, i) => batcher.add(utf8(`${i}`)));
    waiting.push(batcher.addLatest(() => utf8('the log')));
    await assert.rejects(
      batcher.add(utf8('one more')),
      (error) => error instanceof RefusalError && error.code === 'budget',
    );
    turn.resolve(hardware);
    await Promise.all(waiting);
  });
});

describe('receipts', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const key = ed25519Key(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
  const boot = sha256(utf8('boot'));
  const policy = `sha384:${'0'.repeat(96)}` as const;
  const statement = { keys: { receipt: key }, policy };
  const by = { statement, bootDigest: boot };
  const salt = new Uint8Array(16).fill(7);
  const [request, response] = [utf8('ask'), utf8('answer')];
  const body = (sequence: number): ReceiptBody => ({
    version: 1,
    boot: digestText('sha256', boot),
    policy,
    method: 'a.B/C',
    salt: toHex(salt),
    request: digestText('sha256', commitment('request', salt, [request])),
    response: digestText('sha256', commitment('response', salt, [response])),
    status: 0,
    decision: { result: 'allow', label: [], returned: [] },
    sequence,
    record: digestText('sha256', sha256(utf8('record'))),
    time: '2026-11-20T00:00:00.000Z',
  });
  /** One of the version that runtimes write, with a nonce of the caller's. */
  const current = (nonce: string | null): ReceiptBody => ({
    ...body(0),
    ...{ version: 3, taken: 1, text: null, index: 7, within: 1000, nonce },
  });
  const call = { method: 'a.B/C', request: [request], response: [response], status: 0 };
  const refused = (code: string) => (error: unknown) => error instanceof EvidenceError && error.code === code;

  test('of one tick share a signature, and each verifies by itself', async () => {
    let signatures = 0;
    const signer = new ReceiptSigner((message) => {
      signatures++;
      return sign(null, message, privateKey);
    });
    const receipts = await Promise.all(Array.from({ length: 33 }, (_, i) => resultOf(signer.sign(() => body(i)))));
    assert.equal(signatures, 1);
    for (const [i, bytes] of receipts.entries()) {
      const receipt = await verifyReceipt(bytes, by);
      assert.equal(receipt.body.sequence, i);
      checkReceiptMessages(receipt, call);
    }
  });

  test('are refused for other messages, methods, statuses, boots and keys, and with any byte changed', async () => {
    const signer = new ReceiptSigner((message) => sign(null, message, privateKey));
    const bytes = await resultOf([signer.sign(() => body(0)), signer.sign(() => body(1))][0] ?? assert.fail());
    const receipt = await verifyReceipt(bytes, by);
    for (const other of [
      { request: [response] },
      { response: [] },
      { response: [response, response] },
      { method: 'a.B/D' },
      { status: 5 },
    ]) {
      assert.throws(() => checkReceiptMessages(receipt, { ...call, ...other }), refused('binding'));
    }
    const [bootDigest, keys] = [sha256(utf8('other boot')), { receipt: makeBootKeys().receipt }];
    const otherPolicy = { ...statement, policy: `sha384:${'1'.repeat(96)}` as const };
    await assert.rejects(verifyReceipt(bytes, { ...by, bootDigest }), refused('binding'));
    await assert.rejects(verifyReceipt(bytes, { ...by, statement: otherPolicy }), refused('binding'));
    await assert.rejects(verifyReceipt(bytes, { ...by, statement: { ...statement, keys } }), refused('signature'));
    for (let at = 0; at < bytes.length; at++) {
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      await assert.rejects(verifyReceipt(changed, by), EvidenceError, `byte ${at}`);
    }
  });

  test('are of one call: an equal one that sent another nonce refuses them', async () => {
    const signer = new ReceiptSigner((message) => sign(null, message, privateKey));
    const [first, second] = ['11', '22'].map((pair) => pair.repeat(16));
    const receipt = await verifyReceipt(await resultOf(signer.sign(() => current(first ?? ''))), by);
    const second_ = { ...call, nonce: second ?? '' };
    assert.equal(checkReceiptMessages(receipt, { ...call, nonce: first ?? '' }), 'both');
    assert.equal(checkReceiptMessages(receipt, call), 'both', 'all but the nonce fits');
    assert.throws(() => checkReceiptMessages(receipt, second_), refused('nonce'));
    for (const none of [current(null), body(0)]) {
      const without = await verifyReceipt(await resultOf(signer.sign(() => none)), by);
      assert.throws(() => checkReceiptMessages(without, second_), refused('nonce'));
      assert.equal(checkReceiptMessages(without, call), 'both');
    }
    for (const nonce of ['', '1'.repeat(31), '11'.repeat(15), '11'.repeat(33), 'AB'.repeat(16)])
      await assert.rejects(
        resultOf(signer.sign(() => current(nonce))).then((bytes) => verifyReceipt(bytes, by)),
        refused('format'),
      );
  });

  test('of version 3 are signed with a label, which no body of before has', async () => {
    const signed = new Map<string, Uint8Array>();
    const signer = new ReceiptSigner((message) => {
      signed.set('message', message);
      return sign(null, message, privateKey);
    });
    const bytes = await resultOf(signer.sign(() => current(null)));
    const encoded = encodeReceiptBody(current(null));
    const leaf = concat(labelBytes('receipt'), encoded);
    assert.deepEqual(signed.get('message'), receiptsMessage(leafHash(leaf)));
    // The same body as a leaf of its own is signed by the same key, and is no receipt.
    const bare = sign(null, receiptsMessage(leafHash(encoded)), privateKey);
    const forged = encodeReceipt({ body: encoded, index: 0, size: 1, path: [], signature: bare });
    await assert.rejects(verifyReceipt(forged, by), refused('signature'));
    await verifyReceipt(bytes, by);
  });

  test('name a method and nothing that a terminal would obey', async () => {
    const signer = new ReceiptSigner((message) => sign(null, message, privateKey));
    for (const method of [
      'a.B/C\u001b[0J',
      'a.B/C\nreceipt: ok',
      'a.B',
      'a..B/C',
      '/a.B/C',
      'a.B/C/D',
      'a.B/\u202eC',
    ]) {
      await assert.rejects(
        resultOf(signer.sign(() => ({ ...body(0), method }))).then((bytes) => verifyReceipt(bytes, by)),
        refused('format'),
      );
    }
    for (const method of ['B/C', 'a_1.b.B/_C2', `a.${'B'.repeat(255)}/${'C'.repeat(255)}`]) {
      const { body: read } = await verifyReceipt(await resultOf(signer.sign(() => ({ ...body(0), method }))), by);
      assert.equal(read.method, method);
    }
  });

  test('commit to as many messages as a stream has', () => {
    for (const length of [0, 1, 2, 3, 200_000]) {
      const messages = Array.from({ length }, (_, i) => Uint8Array.of(i));
      const streamed = new Commitment('response', salt);
      for (const message of messages) streamed.add(message);
      assert.equal(digestText('sha256', commitment('response', salt, messages)), streamed.digest(), `${length}`);
    }
  });

  test('commit to where one message ends and the next begins', () => {
    const [ab, c, a, bc] = [utf8('ab'), utf8('c'), utf8('a'), utf8('bc')];
    assert.notDeepEqual(commitment('request', salt, [ab, c]), commitment('request', salt, [a, bc]));
    assert.notDeepEqual(commitment('request', salt, [ab]), commitment('response', salt, [ab]));
    assert.deepEqual(concat(ab, c), concat(a, bc));
  });
});

test('boot keys: the certificate carries the TLS key whose digest is stated, and the evidence given', () => {
  const keys = makeBootKeys();
  const evidence = new Uint8Array(5000).fill(0xe5);
  const certificate = new X509Certificate(keys.certificate(evidence));
  assert(certificate.verify(certificate.publicKey), 'self-signed');
  assert.equal(
    toHex(sha256(certificate.publicKey.export({ format: 'der', type: 'spki' }))),
    toHex(keys.tls.spkiDigest),
  );
  const wrapper = parseCertificate(certificate.raw).extensions.get('2.23.133.5.4.9');
  assert(wrapper !== undefined && !wrapper.critical);
  // OCTET STRING (two bytes of length), then the CBOR array of type and value.
  assert.deepEqual(decode(wrapper.value.subarray(4)), ['application/vnd.enclaim.evidence', evidence]);
  const keyOf = (text: string) => createPublicKey({ key: Buffer.from(ed25519Spki(text)), format: 'der', type: 'spki' });
  assert(verify(null, utf8('m'), keyOf(keys.receipt), keys.signReceipts(utf8('m'))));
  assert(verify(null, utf8('m'), keyOf(keys.log), keys.signCheckpoint(utf8('m'))));
  assert.notEqual(keys.log, keys.receipt);
});
