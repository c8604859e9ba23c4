/** The collateral source against services that are slow, broken, too talkative or gone. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { CollateralError } from '@enclaim/attestation/errors';
import { type Evidence, EvidenceSchema } from '@enclaim/attestation/evidence';
import { FakePsp } from '../../test/fakes/psp.ts';
import { VendorCollateral } from '../src/vendor-collateral.ts';

const psp = new FakePsp();
const HOUR = 3_600_000;

/** Evidence that has its certificates and lacks the list of revoked ones: one address is asked. */
function lacking(): Evidence {
  const value = { report: psp.report(), certificates: [psp.leaf], commandLine: '' };
  return create(EvidenceSchema, { hardware: { case: 'snp', value } });
}

/** A source over a clock and a service of this test. */
function source(answer: (url: string) => Response | Promise<Response>): {
  collateral: VendorCollateral;
  clock: { now: number };
  asked: string[];
  crl: () => Promise<string>;
} {
  const asked: string[] = [];
  const clock = { now: 1_000_000 };
  const fetchFrom = (async (url: string) => {
    asked.push(url);
    return answer(url);
  }) as unknown as typeof fetch;
  const collateral = new VendorCollateral({ fetch: fetchFrom, now: () => clock.now });
  const crl = async (): Promise<string> => {
    const evidence = lacking();
    await collateral.complete(evidence);
    assert(evidence.hardware.case === 'snp');
    return Buffer.from(evidence.hardware.value.crl).toString();
  };
  return { collateral, clock, asked, crl };
}

async function fails(run: () => Promise<unknown>, code: CollateralError['code'], retryable: boolean): Promise<void> {
  await assert.rejects(run, (error: unknown) => {
    assert(error instanceof CollateralError, String(error));
    assert.deepEqual([error.code, error.retryable], [code, retryable], error.message);
    return true;
  });
}

describe('what was fetched', () => {
  test('is fetched once for all who ask at once, and again when it is old', async () => {
    let version = 0;
    const { crl, asked, clock } = source(async () => new Response(`crl ${++version}`));
    assert.deepEqual(await Promise.all([crl(), crl(), crl()]), ['crl 1', 'crl 1', 'crl 1']);
    clock.now += HOUR - 1;
    assert.equal(await crl(), 'crl 1');
    clock.now += 1;
    assert.equal(await crl(), 'crl 2');
    assert.equal(asked.length, 2);
  });

  test('is used on where the service is gone: what is in it is dated by its maker', async () => {
    let there = true;
    const { crl, clock } = source(() => (there ? new Response('crl') : new Response('', { status: 503 })));
    await crl();
    there = false;
    clock.now += 2 * HOUR;
    assert.equal(await crl(), 'crl');
  });

  test('leaves alone what the evidence brought', async () => {
    const { collateral, asked } = source(() => new Response('other'));
    const evidence = lacking();
    assert(evidence.hardware.case === 'snp');
    evidence.hardware.value.crl = Uint8Array.of(1);
    await collateral.complete(evidence);
    assert.deepEqual(evidence.hardware.value.crl, Uint8Array.of(1));
    assert.deepEqual(asked, []);
  });
});

describe('a service', () => {
  test('that fails is asked ever more rarely, and at once again when it has recovered', async () => {
    let broken = true;
    const { crl, asked, clock } = source(() => {
      if (broken) throw new TypeError('connection refused');
      return new Response('crl');
    });
    for (let attempt = 0; attempt < 6; attempt++) {
      await fails(crl, 'unreachable', true);
      const seen = asked.length;
      await fails(crl, 'unreachable', true);
      assert.equal(asked.length, seen, 'left alone in between');
      clock.now += 1_000 * 2 ** attempt;
    }
    assert.equal(asked.length, 6);
    broken = false;
    assert.equal(await crl(), 'crl');
    clock.now += HOUR;
    broken = true;
    await crl();
    clock.now += 1_000;
    broken = false;
    await crl();
    assert.equal(asked.length, 9, 'one second after the first failure: the count began anew');
  });

  test('that says no is told from one that is overloaded', async () => {
    await fails(source(() => new Response('', { status: 404 })).crl, 'missing', false);
    await fails(source(() => new Response('', { status: 429 })).crl, 'missing', true);
    await fails(source(() => new Response('', { status: 500 })).crl, 'missing', true);
  });

  test('that never ends is cut off', async () => {
    let sent = 0;
    const endless = new ReadableStream({
      pull: (controller) => {
        sent += 65_536;
        controller.enqueue(new Uint8Array(65_536));
      },
    });
    await fails(source(() => new Response(endless)).crl, 'missing', false);
    assert.ok(sent <= 2 << 20, `${sent} bytes taken`);
  });

  test('is asked without following it elsewhere, for so long and no longer', async () => {
    let options: RequestInit | undefined;
    const collateral = new VendorCollateral({
      fetch: (async (_url: string, given: RequestInit) => {
        options = given;
        return new Response('crl');
      }) as unknown as typeof fetch,
    });
    await collateral.complete(lacking());
    assert.equal(options?.redirect, 'error');
    assert.ok(options?.signal instanceof AbortSignal);
  });
});

test('a report that is none, or of a chip that no service knows, ends in an error', async () => {
  const { collateral, asked } = source(() => new Response('crl'));
  const broken = create(EvidenceSchema, { hardware: { case: 'snp', value: { report: new Uint8Array(8) } } });
  await assert.rejects(collateral.complete(broken), { name: 'EvidenceError', code: 'format' });
  const vlek = new FakePsp({ signer: 'VLEK' }).report();
  const loaned = create(EvidenceSchema, { hardware: { case: 'snp', value: { report: vlek } } });
  await fails(() => collateral.complete(loaned), 'missing', false);
  const unknown = psp.report({ cpu: Uint8Array.of(0x17, 1, 1) });
  const other = create(EvidenceSchema, { hardware: { case: 'snp', value: { report: unknown } } });
  await fails(() => collateral.complete(other), 'missing', false);
  const quote = create(EvidenceSchema, { hardware: { case: 'tdx', value: { quote: new Uint8Array(100) } } });
  await assert.rejects(collateral.complete(quote), { name: 'EvidenceError', code: 'format' });
  assert.deepEqual(asked, []);
});
