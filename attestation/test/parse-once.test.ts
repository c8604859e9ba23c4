/**
 * Parts that are parsed once: what is kept is bounded, lies over bytes of its own, and decides nothing. Each
 * verification judges clock, revocation, pins and collateral anew.
 */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EPOCH } from '../../test/fakes/certificates.ts';
import { FakeNitroHypervisor } from '../../test/fakes/nitro-hypervisor.ts';
import { FakePsp } from '../../test/fakes/psp.ts';
import { FakeQuotingEnclave } from '../../test/fakes/quoting-enclave.ts';
import { refused } from '../../test/support/refused.ts';
import { verifyNitro } from '../src/nitro/index.ts';
import { deriveOnce, forgetParsed, MAX_PARSED_BYTES, MAX_PARSED_PARTS, parseOnce } from '../src/parse-once.ts';
import { importPart } from '../src/parse-part.ts';
import { verifySnp } from '../src/snp/index.ts';
import { type TdxCollateral, verifyTdx } from '../src/tdx/index.ts';
import { importCertified, parseCertificateOnce, parseCrlOnce, pinsOf } from '../src/x509/index.ts';

const DAY = 86_400_000;
const now = EPOCH + DAY;

/** A parser that counts, and keeps the bytes that it was given. */
function counting(): {
  readonly parse: (bytes: Uint8Array) => { readonly bytes: Uint8Array };
  readonly runs: () => number;
} {
  let count = 0;
  const parse = parseOnce((bytes) => {
    count++;
    if (bytes.length === 0) throw new RangeError('nothing to parse');
    return { bytes, list: [{ first: bytes[0] }] };
  });
  return { parse, runs: () => count };
}

/** A part of some length that no other number has. */
function part(number: number, length = 4): Uint8Array {
  const bytes = new Uint8Array(length);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

describe('parseOnce', () => {
  test('parses equal bytes once, and other bytes each', () => {
    const { parse, runs } = counting();
    assert.equal(parse(part(1)), parse(part(1)));
    assert.notEqual(parse(part(2)), parse(part(1)));
    assert.equal(runs(), 2);
  });

  for (const [what, bytes] of [
    ['a Uint8Array', part(1)],
    ['a Buffer', Buffer.from(part(1))],
  ] as const) {
    test(`lies over a copy of ${what}: its owner may write to it`, () => {
      const { parse, runs } = counting();
      const first = parse(bytes);
      bytes.fill(9);
      assert.deepEqual(first.bytes, part(1));
      assert.deepEqual(parse(bytes).bytes, new Uint8Array(4).fill(9));
      assert.equal(parse(part(1)), first);
      assert.equal(runs(), 2);
    });
  }

  test('is frozen, because callers share it', () => {
    const shared = counting().parse(part(1)) as unknown as { bytes: unknown; list: { first: number }[] };
    assert.throws(() => {
      shared.bytes = part(2);
    }, TypeError);
    assert.throws(() => shared.list.push({ first: 2 }), TypeError);
    assert.throws(() => {
      for (const one of shared.list) one.first = 2;
    }, TypeError);
  });

  test('keeps nothing of bytes that do not parse', () => {
    const { parse, runs } = counting();
    for (let run = 1; run <= 3; run++) {
      assert.throws(() => parse(new Uint8Array()), RangeError);
      assert.equal(runs(), run);
    }
  });

  test('a sender of ever new parts makes it keep no more than the limit of parts', () => {
    const { parse, runs } = counting();
    const sent = 10 * MAX_PARSED_PARTS;
    for (let number = 0; number < sent; number++) parse(part(number));
    assert.equal(runs(), sent);
    for (let number = sent - MAX_PARSED_PARTS; number < sent; number++) parse(part(number));
    assert.equal(runs(), sent, 'the last ones are kept');
    parse(part(sent - MAX_PARSED_PARTS - 1));
    assert.equal(runs(), sent + 1, 'the one before them is not');
  });

  test('nor more than the limit of bytes, whatever their number', () => {
    const { parse, runs } = counting();
    const quarter = MAX_PARSED_BYTES / 4;
    for (let number = 0; number < 5; number++) parse(part(number, quarter));
    for (let number = 1; number < 5; number++) parse(part(number, quarter));
    assert.equal(runs(), 5, 'four quarters are kept');
    parse(part(0, quarter));
    assert.equal(runs(), 6, 'a fifth is not');
    parse(part(5, MAX_PARSED_BYTES));
    parse(part(4, quarter));
    assert.equal(runs(), 8, 'one part may take all of it');
    const large = part(6, MAX_PARSED_BYTES + 1);
    parse(large);
    parse(large);
    assert.equal(runs(), 10, 'and none more');
    parse(part(4, quarter));
    assert.equal(runs(), 10, 'nor does a larger one drive out what is kept');
  });

  test('what is asked for again outlives what is not', () => {
    const { parse, runs } = counting();
    parse(part(0));
    for (let number = 1; number < 3 * MAX_PARSED_PARTS; number++) {
      parse(part(number));
      parse(part(0));
    }
    assert.equal(runs(), 3 * MAX_PARSED_PARTS);
  });

  test('is forgotten on demand', () => {
    const { parse, runs } = counting();
    parse(part(1));
    forgetParsed();
    parse(part(1));
    assert.equal(runs(), 2);
  });
});

describe('deriveOnce', () => {
  test('runs once for an object, and again for an equal one', () => {
    let runs = 0;
    const derive = deriveOnce(({ of }: { readonly of: number }) => ({ run: ++runs, of }));
    const one = { of: 1 };
    assert.equal(derive(one), derive(one));
    assert.equal(derive({ of: 1 }).run, 2);
    assert.throws(() => Object.assign(derive(one), { run: 9 }), TypeError);
  });

  test('keeps nothing that was thrown', () => {
    let runs = 0;
    const derive = deriveOnce((): object => {
      runs++;
      throw new RangeError();
    });
    const one = {};
    for (let run = 0; run < 2; run++) assert.throws(() => derive(one), RangeError);
    assert.equal(runs, 2);
  });
});

describe('a certificate that comes again', () => {
  const { ark } = new FakePsp();
  test('has the key and the pins that it had', async () => {
    const [one, other] = [parseCertificateOnce(ark), parseCertificateOnce(Buffer.from(ark))];
    assert.equal(one, other);
    assert.equal(await importCertified(one), await importCertified(other));
    assert.equal(pinsOf(one), pinsOf(other));
  });
});

describe('a key that comes again', () => {
  const { spki } = new FakeQuotingEnclave().pck;
  test('is imported once, and another one from the same buffer anew', async () => {
    const buffer = Uint8Array.from(spki);
    const first = await importPart('key', buffer);
    assert.equal(await importPart('key', Uint8Array.from(spki)), first);
    buffer.set(new FakeQuotingEnclave().pck.spki);
    const second = await importPart('key', buffer);
    assert.notDeepEqual(second.spki, first.spki);
    assert.deepEqual(first.spki, Uint8Array.from(spki));
  });

  test('is refused each time if it is none', async () => {
    for (let run = 0; run < 2; run++) await refused('format', () => importPart('key', Uint8Array.of(0x30, 0)));
  });
});

describe('what was parsed before decides nothing of', () => {
  const psp = new FakePsp();
  const qe = new FakeQuotingEnclave();
  const hypervisor = new FakeNitroHypervisor();

  test('SNP: dates, revocation and pins', async () => {
    const evidence = psp.evidence();
    const list = psp.crl();
    const verify = (at = now, crl = list, pins = psp.pins) => verifySnp({ ...evidence, crl }, pins, { now: at });
    const { chain } = await verify();
    for (const end of [...chain.path.map(({ notAfter }) => notAfter), parseCrlOnce(list).nextUpdate]) {
      await refused('validity', () => verify(end + 1));
    }
    for (const { notBefore } of chain.path) await refused('validity', () => verify(notBefore - 1));
    await refused('revoked', () => verify(now, psp.crl(0x10001)));
    await verify();
    await refused('chain', () => verify(now, list, []));
    await refused('chain', () => verify(now, list, new FakePsp().pins));
    await verify();
  });

  test('TDX: dates, revocation, collateral and pins', async () => {
    const quote = qe.quote();
    const good = qe.collateral();
    const verify = (changes: Partial<TdxCollateral> = {}, at = now, pins = qe.pins) =>
      verifyTdx({ quote, collateral: { ...good, ...changes } }, pins, { now: at });
    const { chain, tcb } = await verify();
    assert.ok(tcb !== 'not checked');
    assert.equal(tcb.status, 'UpToDate');
    for (const end of [...chain.path.map(({ notAfter }) => notAfter), tcb.nextUpdate]) {
      await refused('validity', () => verify({}, end + 1));
    }
    await refused('validity', () => verify({}, EPOCH - 1));
    await refused('revoked', () => verify({ pckCrl: qe.platformCa.crl({ revoked: [3] }) }));
    await refused('revoked', () => verify({ rootCrl: qe.root.crl({ revoked: [2] }) }));
    await refused('revoked', () => verify({ rootCrl: qe.root.crl({ revoked: [4] }) }));
    await refused('chain', () => verify({}, now, []));
    const { tcbInfo, tcbInfoSignature } = qe.collateral({ statuses: ['Revoked'] });
    const raised = await verify({ tcbInfo, tcbInfoSignature });
    assert.ok(raised.tcb !== 'not checked');
    assert.equal(raised.tcb.status, 'Revoked');
    await refused('collateral', () => verify({ tcbInfo }));
    await refused('collateral', () => verify({ tcbInfoSignature }));
    await verify();
  });

  test('TDX: each end of the collateral by itself', async () => {
    const quote = qe.quote();
    const late = EPOCH + 20 * DAY;
    const short = qe.collateral({ nextUpdate: late });
    const collaterals: [string, Partial<TdxCollateral>][] = [
      ['TCB info', { tcbInfo: short.tcbInfo, tcbInfoSignature: short.tcbInfoSignature }],
      ['QE identity', { qeIdentity: short.qeIdentity, qeIdentitySignature: short.qeIdentitySignature }],
      ['PCK CRL', { pckCrl: qe.platformCa.crl({ nextUpdate: late }) }],
      ['root CRL', { rootCrl: qe.root.crl({ nextUpdate: late }) }],
    ];
    for (const [what, changes] of collaterals) {
      const collateral = { ...qe.collateral(), ...changes };
      const verify = (at: number) => verifyTdx({ quote, collateral }, qe.pins, { now: at });
      await verify(late);
      await assert.rejects(verify(late + 1000), { code: 'validity' }, what);
      await verify(late);
    }
  });

  test('Nitro: the three hours of its key', async () => {
    const bytes = await hypervisor.document();
    const verify = (at: number) => verifyNitro(bytes, hypervisor.pins, { now: at });
    await verify(EPOCH);
    await refused('validity', () => verify(EPOCH + 10_800_001));
    await refused('validity', () => verify(EPOCH - 1));
    await verify(EPOCH);
  });

  test('a signature: a certificate under the same name whose key did not sign it is refused', async () => {
    const evidence = psp.evidence();
    await verifySnp(evidence, psp.pins, { now });
    const leaf = Uint8Array.from(evidence.leaf);
    leaf[leaf.length - 1] = (leaf.at(-1) ?? 0) ^ 1;
    for (let run = 0; run < 2; run++) {
      await refused('chain', () => verifySnp({ ...evidence, leaf }, psp.pins, { now }));
    }
  });
});
