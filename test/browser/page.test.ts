/** The auditor's page in Chromium, from disk: the verdict of Node, check by check, and no way to a network. */

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type DeviceName, signDeployment } from '@enclaim/attestation/deployment';
import { ed25519Key } from '@enclaim/attestation/statement';
import { type CheckedReceipt, connect, receiptFile, verifySaved } from '@enclaim/client';
import { Client, credentials } from '@grpc/grpc-js';
import { receiptBoot } from '../../client/test/refused-receipt.ts';
import { buildPage } from '../../scripts/page.ts';
import { AuditorsPage, type Shown } from '../support/auditors-page.ts';
import { needs } from '../support/machine-needs.ts';
import { ECHO, type PretendServer, startPretendServer } from '../support/pretend-server.ts';

let server: PretendServer;
let files: Readonly<
  Record<
    'evidence' | 'changed' | 'receipt' | 'bareReceipt' | 'otherReceipt' | 'references' | 'other' | 'none',
    Uint8Array | string
  >
>;

before(async () => {
  server = await startPretendServer();
  const receipts: CheckedReceipt[] = [];
  const channel = await connect(server.target, {
    references: server.references,
    onReceipt: (receipt) => receipts.push(receipt),
  });
  const request = Buffer.from('hello');
  const same = (bytes: Buffer): Buffer => bytes;
  const client = new Client(server.target, credentials.createInsecure(), { channelOverride: channel });
  await new Promise<void>((resolve, reject) => {
    client.makeUnaryRequest(`${ECHO}Unary`, same, same, request, (error) => (error ? reject(error) : resolve()));
  });
  channel.close();
  const { evidence } = channel.attestation;
  const [receipt] = receipts;
  assert(receipt !== undefined);
  const changed = Uint8Array.from(evidence);
  changed[changed.length >> 1] = (changed[changed.length >> 1] ?? 0) ^ 1;
  const markup = '<img src=x onerror="document.title=1">';
  const [image] = server.references.images;
  files = {
    evidence,
    changed,
    receipt: receiptFile(receipt, { request: [request], response: [request] }),
    bareReceipt: receiptFile(receipt, null),
    otherReceipt: receiptFile(receipt, { request: [request], response: [Buffer.from('something else')] }),
    references: JSON.stringify(server.references),
    other: JSON.stringify({ ...server.references, images: [{ ...image, commandLine: markup }] }),
    none: markup,
  };
});
after(() => server.stop());

describe('the page', needs('browser'), () => {
  let auditor: AuditorsPage;
  before(async () => {
    auditor = await AuditorsPage.open();
  });
  after(() => auditor[Symbol.asyncDispose]());

  const show = (subject: keyof typeof files, references: keyof typeof files): Promise<Shown> =>
    auditor.show(files[subject], files[references]);

  test('shows every check that Node makes, with the same outcome', async () => {
    const { head, rows } = await show('evidence', 'references');
    assert.equal(head, 'Verdict: ok');
    const { verdict } = await verifySaved(files.evidence as Uint8Array, { references: server.references });
    const expected = verdict.checks.map(({ id, outcome, detail, strength }) => [
      outcome === 'not run' ? 'not run, not required' : outcome,
      id,
      strength === undefined ? detail : `${detail} [${strength}]`,
    ]);
    assert.deepEqual(rows, expected);
    assert.ok(rows.some(([outcome, id]) => id === 'nonce' && outcome?.startsWith('not run')));
  });

  test('shows a receipt with the verdict it leads to', async () => {
    const { head, text } = await show('receipt', 'references');
    assert.equal(head, 'Verdict: ok');
    assert.match(text, /Receipt: signed by the receipt key of this boot.*test\.v1\.Echo\/Unary/);
  });

  test('shows no receipt in green of a boot that is refused', async () => {
    const receiptHead = (): Promise<[string, string]> =>
      auditor.page.evaluate(`(() => {
        const [, head] = document.querySelectorAll('#result h2');
        return [head.className, head.textContent];
      })()`);
    assert.equal((await show('receipt', 'references')).head, 'Verdict: ok');
    assert.deepEqual(await receiptHead(), ['ok', 'Receipt: signed by the receipt key of this boot']);
    assert.equal((await show('receipt', 'other')).head, 'Verdict: not ok');
    assert.deepEqual(await receiptHead(), ['bad', 'Receipt: of a boot that is refused']);
  });

  test('says whether the messages of a receipt were compared', async () => {
    assert.match((await show('receipt', 'references')).text, /messagescompared/);
    const { head, text } = await show('bareReceipt', 'references');
    assert.equal(head, 'Verdict: ok');
    assert.match(text, /messagesnot run: the file holds none/);
    const { fileOf, references } = await receiptBoot();
    const held = { request: [Buffer.from('never sent')], response: [] };
    const refused = await auditor.show(
      await fileOf(7, { request: [], response: [] }, held, null),
      JSON.stringify(references),
    );
    assert.equal(refused.head, 'Verdict: ok');
    assert.match(refused.text, /messagesresponse only: /);
  });

  test('shows no verdict of files that are no longer chosen', async () => {
    for (const [id, subject] of [
      ['subject', 'evidence'],
      ['references', 'evidence'],
      ['subject', 'none'],
    ] as const) {
      await show(subject, 'references');
      await auditor.page.evaluate(`(() => {
        const picker = document.getElementById('${id}');
        picker.value = '';
        picker.dispatchEvent(new Event('change'));
        return true;
      })()`);
      await auditor.page.until("document.getElementById('result').hidden");
      assert.equal(await auditor.page.evaluate("document.getElementById('result').textContent"), '', id);
    }
  });

  test('refuses changed evidence, another message and what is neither', async () => {
    for (const [subject, reason] of [
      ['changed', /EvidenceError/],
      ['otherReceipt', /EvidenceError binding: receipt commits to another response/],
      ['none', /EvidenceError format/],
    ] as const) {
      const { head, text } = await show(subject, 'references');
      assert.equal(head, 'Refused', subject);
      assert.match(text, reason);
    }
  });

  test('says no where the references say no, and shows what they say as text', async () => {
    const { head, rows, text } = await show('evidence', 'other');
    assert.equal(head, 'Verdict: not ok');
    assert.ok(rows.some(([outcome, id]) => outcome === 'failed' && id === 'register.12'));
    assert.match(text, /<img src=x/);
    assert.equal(await auditor.page.evaluate("document.querySelectorAll('#result img').length"), 0);
    assert.equal(await auditor.page.evaluate('document.title'), 'Enclaim: verify');
  });

  test('holds demands against the policy', async () => {
    const demand = (text: string): Promise<void> => auditor.fill('demands', text);
    await demand('claim audited-system');
    assert.equal((await show('evidence', 'references')).head, 'Verdict: ok');
    await demand('claim encryption-at-rest');
    const { head, rows } = await show('evidence', 'references');
    assert.equal(head, 'Verdict: not ok');
    assert.deepEqual(rows.at(-1)?.slice(0, 2), ['failed', 'demand.1']);
    await demand('');
  });

  test('takes deployments, and holds the device against what the owner signed', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const owner = ed25519Key(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
    const owned = await startPretendServer({ owner });
    try {
      const references = { ...owned.references, owner };
      const signed = (device: DeviceName, key = privateKey): string => {
        const [notBefore, notAfter] = [-1, 1].map((day) => new Date(Date.now() + day * 86_400_000).toISOString());
        const { policy } = owned.references;
        const deployment = { policy, devices: [device], notBefore: notBefore ?? '', notAfter: notAfter ?? '' };
        return JSON.stringify(signDeployment(deployment, (message) => sign(null, message, key)));
      };
      const own = signed(`ak:${owned.attestationKey}`);
      const other = signed(`ak:sha256:${'0'.repeat(64)}`);
      const channel = await connect(owned.target, { references: { ...references, deployments: [JSON.parse(own)] } });
      channel.close();
      const shown = async (...deployments: string[]): Promise<[head: string, deployment: string | undefined]> => {
        await auditor.deploy(...deployments);
        const { head, rows } = await auditor.show(channel.attestation.evidence, JSON.stringify(references));
        return [head, rows.find(([, id]) => id === 'deployment')?.[0]];
      };
      assert.deepEqual(await shown(), ['Verdict: not ok', 'failed']);
      assert.deepEqual(await shown(other), ['Verdict: not ok', 'failed']);
      assert.deepEqual(await shown(other, own), ['Verdict: ok', 'passed']);
      const forger = generateKeyPairSync('ed25519').privateKey;
      assert.deepEqual(await shown(signed(`ak:${owned.attestationKey}`, forger)), ['Verdict: not ok', 'failed']);
      assert.deepEqual((await shown('{}'))[0], 'Refused');
      await auditor.deploy(own);
      const anyOwner = JSON.stringify({ ...references, owner: 'any' });
      const { head, text } = await auditor.show(channel.attestation.evidence, anyOwner);
      assert.equal(head, 'Refused');
      assert.match(text, /AppraisalError references: .*owner "any".*deployments/);
    } finally {
      await auditor.deploy();
      owned.stop();
    }
  });

  test('cannot reach a network, nor run a script that is not its own', async () => {
    let reached = 0;
    const listener = createServer((_request, response) => {
      reached++;
      response.setHeader('access-control-allow-origin', '*').end('reached');
    });
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    const outcome = await auditor.page.evaluate(`(async () => {
      const address = 'http://127.0.0.1:${port}/';
      const blocked = (run) => run().then(() => 'reached', () => 'blocked');
      const image = () => new Promise((resolve, reject) => {
        const it = new Image();
        it.onload = resolve;
        it.onerror = reject;
        it.src = address;
      });
      const inline = () => {
        const script = document.createElement('script');
        try { script.text = 'document.title = "run"'; document.head.append(script); } catch {}
        return document.title === 'run' ? 'run' : 'blocked';
      };
      return [await blocked(() => fetch(address)), await blocked(image), navigator.sendBeacon(address), inline()];
    })()`);
    // A beacon is queued before it is held against the policy; that none arrived is what counts.
    assert.deepEqual(
      [(outcome as unknown[])[0], (outcome as unknown[])[1], (outcome as unknown[])[3]],
      ['blocked', 'blocked', 'blocked'],
    );
    assert.equal(reached, 0);
    assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 200, 'the listener was there to be reached');
    listener.close();
  });
});

test('the page has no module of Node in it', async () => {
  const html = await buildPage();
  assert.doesNotMatch(html, /node:(fs|crypto|net|tls|http|http2|child_process)/);
});
