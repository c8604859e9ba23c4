/** X.509: every way that a certificate, a path or a CRL must not pass, beside the one way that it does. */

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';
import { authority, EPOCH, FakeIdentity, pemOf, pinOf } from '../../test/fakes/certificates.ts';
import { bits, boolean, context, der, integer, oid, sequence, time } from '../../test/fakes/der.ts';
import { coldAndWarm } from '../../test/support/cold-and-warm.ts';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { importKey, verifySignature } from '../src/crypto/node.ts';
import { DecodeError, EvidenceError, type EvidenceErrorCode } from '../src/errors.ts';
import { DerReader } from '../src/x509/der.ts';
import {
  type Certificate,
  commonName,
  parseCertificate,
  parseCertificateOnce,
  parseCrl,
  parseCrlOnce,
  parsePem,
  plainRsaKey,
  verifyChain,
  verifyNotRevoked,
} from '../src/x509/index.ts';

const DAY = 86_400_000;
const now = EPOCH + DAY;

const root = new FakeIdentity('Root', 'pss-sha384');
const middle = new FakeIdentity('Middle', 'ecdsa-sha384');
const leaf = new FakeIdentity('Leaf', 'ecdsa-sha256');
const rootDer = root.root();
const middleDer = root.certify({ subject: middle.subject, spki: middle.spki, serial: 7, extensions: authority(0) });
const leafDer = middle.certify({ subject: leaf.subject, spki: leaf.spki, serial: 0x90n });
const [rootCert, middleCert, leafCert] = [rootDer, middleDer, leafDer].map(parseCertificate) as [
  Certificate,
  Certificate,
  Certificate,
];
const pins = [pinOf(rootDer)];

async function refused(code: EvidenceErrorCode, run: () => Promise<unknown>): Promise<void> {
  await assert.rejects(run, (error: unknown) => {
    assert.ok(error instanceof EvidenceError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}

function chain(leafBytes: Uint8Array, ...others: Uint8Array[]): Promise<unknown> {
  return coldAndWarm(async () =>
    verifyChain(parseCertificateOnce(leafBytes), others.map(parseCertificateOnce), pins, { now }),
  );
}

describe('parseCertificate', () => {
  test('reads what Node reads', () => {
    const node = new X509Certificate(leafDer);
    assert.equal(leafCert.serial.replace(/^00/, '').toUpperCase(), node.serialNumber);
    assert.equal(leafCert.notBefore, node.validFromDate.getTime());
    assert.equal(leafCert.notAfter, node.validToDate.getTime());
    assert.deepEqual(Buffer.from(leafCert.spki), node.publicKey.export({ type: 'spki', format: 'der' }));
    assert.equal(commonName(leafCert.issuer), 'Middle');
    assert.deepEqual(middleCert.ca, { pathLength: 0 });
    assert.equal(leafCert.ca, undefined);
  });

  test('one serial number has one text, however many zeros are written before it', async () => {
    const { subject, spki } = leaf;
    const written: [string, string][] = [
      ['0090', '0090'],
      ['00000090', '0090'],
      ['07', '07'],
      ['000007', '07'],
      ['0000', '00'],
      ['00', '00'],
    ];
    for (const [hex, serial] of written) {
      const serialDer = der(0x02, Buffer.from(hex, 'hex'));
      const bytes = middle.certify({ subject, spki, serialDer });
      const certificate = parseCertificate(bytes);
      assert.equal(certificate.serial, serial);
      await chain(bytes, middleDer, rootDer);
      // A list that writes it in its shortest form, or in this one, names it.
      for (const revoked of [BigInt(`0x${hex}`), serialDer]) {
        const crl = parseCrl(middle.crl({ revoked: [revoked] }));
        await refused('revoked', () => verifyNotRevoked(certificate, middleCert, crl, { now }));
      }
    }
    for (const hex of ['', 'ff90']) {
      const serialDer = der(0x02, Buffer.from(hex, 'hex'));
      assert.throws(() => parseCertificate(middle.certify({ subject, spki, serialDer })), DecodeError);
    }
  });

  test('a key for RSAES-OAEP is certified, is the key that it holds, and verifies no signature', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const plain = publicKey.export({ type: 'spki', format: 'der' });
    // Past the headers: AlgorithmIdentifier of 15 bytes, then the key as it is.
    const bitString = plain.subarray(4 + 15);
    const { subject } = leaf;
    for (const parameters of [[], [sequence()], [sequence(context(0, sequence(oid('2.16.840.1.101.3.4.2.1'))))]]) {
      const spki = sequence(sequence(oid('1.2.840.113549.1.1.7'), ...parameters), bitString);
      assert.deepEqual(Buffer.from(plainRsaKey(spki) ?? []), plain);
      const verified = await verifyChain(
        parseCertificate(middle.certify({ subject, spki })),
        [middleDer, rootDer].map(parseCertificate),
        pins,
        { now },
      );
      assert.deepEqual([verified.key.type, verified.key.bits], ['rsa-oaep', 2048]);
      const message = Buffer.from('message');
      const scheme = { kind: 'rsassa', hash: 'sha256' } as const;
      const signature = sign('sha256', message, privateKey);
      assert.equal(await verifySignature(scheme, await importKey(plain), message, signature), true);
      assert.equal(await verifySignature(scheme, verified.key, message, signature), false);
    }
    assert.equal(plainRsaKey(plain), undefined);
    const short = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ type: 'spki', format: 'der' });
    const weak = sequence(sequence(oid('1.2.840.113549.1.1.7')), short.subarray(3 + 15));
    await refused('key', () => chain(middle.certify({ subject, spki: weak }), middleDer, rootDer));
  });

  const unknown = { oid: '1.2.3.4', value: sequence() };
  const spki = leaf.spki;
  const bad: Record<string, [Uint8Array, string]> = {
    'an extension twice': [middle.certify({ subject: leaf.subject, spki, extensions: [unknown, unknown] }), 'syntax'],
    'a trailing byte': [Buffer.concat([leafDer, Uint8Array.of(0)]), 'trailing'],
    'another algorithm outside than inside': [
      sequence(leafCert.tbs, sequence(oid('1.2.840.10045.4.3.2')), bits(leafCert.signature)),
      'syntax',
    ],
    'key usage of eight unused bits': [
      middle.certify({
        subject: leaf.subject,
        spki,
        extensions: [{ oid: '2.5.29.15', value: bits(Uint8Array.of(0), 8) }],
      }),
      'syntax',
    ],
  };
  for (const [what, [bytes, code]] of Object.entries(bad)) {
    test(`refuses ${what}`, () => {
      assert.throws(
        () => parseCertificate(bytes),
        (error) => error instanceof DecodeError && error.code === code,
      );
    });
  }

  test('is total', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(leafDer.length - 1), fc.boolean(), (noise, at, insert) => {
        const bytes = insert
          ? Buffer.concat([leafDer.subarray(0, at), noise, leafDer.subarray(at)])
          : Buffer.concat([leafDer.subarray(0, at), noise, leafDer.subarray(at + noise.length)]);
        for (const parse of [parseCertificate, parseCrl]) {
          try {
            parse(bytes);
          } catch (error) {
            assert.ok(error instanceof DecodeError, String(error));
          }
        }
      }),
      { numRuns: count(2000, 2000, 200) },
    );
  });
});

describe('DER', () => {
  const bad: [string, string, string][] = [
    ['indefinite length', '3080', 'canonical'],
    ['long form of a short length', '308101ff', 'canonical'],
    ['length with a leading zero', '308200ff', 'canonical'],
    ['length of four octets', '308400000001', 'range'],
    ['high identifier', '1f8101', 'range'],
    ['contents cut', '300500', 'truncated'],
    ['nothing', '', 'truncated'],
  ];
  for (const [what, hex, code] of bad) {
    test(`refuses ${what}`, () => {
      assert.throws(
        () => new DerReader(Buffer.from(hex, 'hex')).any(),
        (error) => error instanceof DecodeError && error.code === code,
      );
    });
  }

  const reads: [string, Uint8Array, (reader: DerReader) => unknown][] = [
    ['integer with a spare zero', der(2, Uint8Array.of(0, 1)), (reader) => reader.integer('x')],
    ['integer with a spare one', der(2, Uint8Array.of(0xff, 0x80)), (reader) => reader.integer('x')],
    ['empty integer', der(2), (reader) => reader.integer('x')],
    ['negative small integer', der(2, Uint8Array.of(0x80)), (reader) => reader.smallInteger('x')],
    ['boolean of 1', der(1, Uint8Array.of(1)), (reader) => reader.boolean('x')],
    ['arc with a leading zero', der(6, Uint8Array.of(0x2a, 0x80, 1)), (reader) => reader.oid('x')],
    ['arc without an end', der(6, Uint8Array.of(0x2a, 0x81)), (reader) => reader.oid('x')],
    ['time without Z', der(0x17, Buffer.from('260101000000+')), (reader) => reader.time('x')],
    ['31 February', der(0x18, Buffer.from('20260231000000Z')), (reader) => reader.time('x')],
    ['hour 24', der(0x18, Buffer.from('20260201240000Z')), (reader) => reader.time('x')],
    ['fraction of a second', der(0x18, Buffer.from('20260201230000.5Z')), (reader) => reader.time('x')],
  ];
  for (const [what, bytes, read] of reads) {
    test(`refuses ${what}`, () => {
      assert.throws(() => read(new DerReader(bytes)), DecodeError);
    });
  }

  test('reads times', () => {
    for (const at of [EPOCH, Date.parse('0001-01-01T00:00:00Z'), Date.parse('2000-02-29T23:59:59Z')]) {
      assert.equal(new DerReader(time(at)).time('x'), at);
    }
    assert.equal(new DerReader(der(0x17, Buffer.from('491231235959Z'))).time('x'), Date.UTC(2049, 11, 31, 23, 59, 59));
    assert.equal(new DerReader(der(0x17, Buffer.from('500101000000Z'))).time('x'), Date.UTC(1950, 0, 1));
  });

  test('reads exactly the times that are dates, of any year', () => {
    const field = (max: number): fc.Arbitrary<string> =>
      fc.integer({ min: 0, max }).map((value) => String(value).padStart(2, '0'));
    const year = fc.integer({ min: 0, max: 9999 }).map((value) => String(value).padStart(4, '0'));
    const fields = fc.tuple(year, field(13), field(32), field(24), field(60), field(60));
    const met = { dates: 0, others: 0 };
    fc.assert(
      fc.property(fields, ([year, month, day, hour, minute, second]) => {
        const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
        const at = Date.parse(iso);
        const isDate = !Number.isNaN(at) && new Date(at).toISOString() === iso;
        const read = (): number =>
          new DerReader(der(0x18, Buffer.from(iso.slice(0, 19).replaceAll(/\D/g, '').concat('Z')))).time('x');
        met[isDate ? 'dates' : 'others']++;
        if (isDate) assert.equal(read(), at);
        else assert.throws(read, DecodeError);
      }),
      { numRuns: count(5000, 5000, 500) },
    );
    assert.ok(Math.min(met.dates, met.others) > count(500, 500, 50), JSON.stringify(met));
  });
});

describe('verifyChain', () => {
  test('finds the path to a pinned certificate or key', async () => {
    for (const pin of [pinOf(rootDer), pinOf(root.spki)]) {
      const found = await verifyChain(leafCert, [rootCert, middleCert], [pin], { now });
      assert.deepEqual(found.path, [leafCert, middleCert, rootCert]);
      assert.equal(found.pin, pin);
      assert.equal(found.key.curve, 'P-256');
    }
  });

  test('ends at a pinned intermediate', async () => {
    const found = await verifyChain(leafCert, [rootCert, middleCert], [pinOf(middleDer)], { now });
    assert.equal(found.anchor, middleCert);
  });

  test('takes the cross-signed twin that leads to the pin', async () => {
    const stranger = new FakeIdentity('Stranger', 'ecdsa-sha256');
    const twin = stranger.certify({ subject: middle.subject, spki: middle.spki, extensions: authority() });
    await verifyChain(leafCert, [parseCertificate(twin), middleCert], [pinOf(middleDer)], { now });
  });

  const other = new FakeIdentity('Root', 'pss-sha384');
  const attacks: [string, EvidenceErrorCode, () => Promise<unknown>][] = [
    ['no pins', 'chain', () => verifyChain(leafCert, [middleCert, rootCert], [], { now })],
    ['a leaf that is itself pinned', 'chain', () => verifyChain(leafCert, [], [pinOf(leafDer)], { now })],
    ['a missing intermediate', 'chain', () => chain(leafDer, rootDer)],
    ['a missing root', 'chain', () => chain(leafDer, middleDer)],
    ['another root of the same name', 'chain', () => chain(leafDer, middleDer, other.root())],
    [
      'a key-pinned root that somebody else wrote',
      'chain',
      () => {
        const forged = other.certify({ subject: root.subject, spki: root.spki, extensions: authority() });
        return verifyChain(leafCert, [middleCert, parseCertificate(forged)], [pinOf(root.spki)], { now });
      },
    ],
    [
      'a leaf that signs',
      'chain',
      () => {
        const below = leaf.certify({ subject: leaf.subject, spki: leaf.spki });
        return chain(below, leafDer, middleDer, rootDer);
      },
    ],
    [
      'a path longer than its CA allows',
      'chain',
      () => {
        const sub = middle.certify({ subject: leaf.subject, spki: leaf.spki, extensions: authority() });
        const below = leaf.certify({ subject: leaf.subject, spki: leaf.spki });
        return chain(below, sub, middleDer, rootDer);
      },
    ],
    [
      'a CA that may only sign CRLs',
      'chain',
      () => {
        const [constraints] = authority();
        assert.ok(constraints);
        const usage = { oid: '2.5.29.15', critical: true, value: bits(Uint8Array.of(0x02), 1) };
        const ca = root.certify({ subject: middle.subject, spki: middle.spki, extensions: [constraints, usage] });
        return chain(leafDer, ca, rootDer);
      },
    ],
    [
      'cA false',
      'chain',
      () => {
        const constraints = { oid: '2.5.29.19', critical: true, value: sequence(boolean(false), integer(1)) };
        const ca = root.certify({ subject: middle.subject, spki: middle.spki, extensions: [constraints] });
        return chain(leafDer, ca, rootDer);
      },
    ],
    [
      'an unknown critical extension in the leaf',
      'chain',
      () => {
        const extensions = [{ oid: '1.2.3.4', critical: true, value: sequence() }];
        return chain(middle.certify({ subject: leaf.subject, spki: leaf.spki, extensions }), middleDer, rootDer);
      },
    ],
    [
      'name constraints, which are not read',
      'chain',
      () => {
        const extensions = [...authority(), { oid: '2.5.29.30', critical: true, value: sequence() }];
        return chain(leafDer, root.certify({ subject: middle.subject, spki: middle.spki, extensions }), rootDer);
      },
    ],
    [
      'key identifiers that differ',
      'chain',
      () => {
        const authorityKey = { oid: '2.5.29.35', value: sequence(der(0x80, Uint8Array.of(1))) };
        const subjectKey = { oid: '2.5.29.14', value: der(4, Uint8Array.of(2)) };
        const ca = root.certify({
          subject: middle.subject,
          spki: middle.spki,
          extensions: [...authority(), subjectKey],
        });
        const low = middle.certify({ subject: leaf.subject, spki: leaf.spki, extensions: [authorityKey] });
        return chain(low, ca, rootDer);
      },
    ],
    [
      'an expired leaf',
      'validity',
      () => {
        const late = middle.certify({ subject: leaf.subject, spki: leaf.spki, notAfter: now - 1000 });
        return chain(late, middleDer, rootDer);
      },
    ],
    [
      'an intermediate not yet valid',
      'validity',
      () => {
        const fields = { subject: middle.subject, spki: middle.spki, notBefore: now + 1000, extensions: authority() };
        return chain(leafDer, root.certify(fields), rootDer);
      },
    ],
    [
      'an expired root',
      'validity',
      () => verifyChain(leafCert, [middleCert, rootCert], pins, { now: EPOCH + 5000 * DAY }),
    ],
    [
      'a clock that is not a number',
      'validity',
      () => verifyChain(leafCert, [middleCert, rootCert], pins, { now: NaN }),
    ],
    ['too many intermediates', 'chain', () => verifyChain(leafCert, Array(33).fill(middleCert), pins, { now })],
    [
      'a key that does not parse',
      'format',
      () =>
        chain(
          middle.certify({ subject: leaf.subject, spki: sequence(sequence(), bits(Uint8Array.of(1))) }),
          middleDer,
          rootDer,
        ),
    ],
  ];
  for (const [what, code, run] of attacks) test(`refuses ${what}`, () => refused(code, run));

  test('refuses every changed byte of every certificate of the path', async () => {
    let refusals = 0;
    for (const [index, original] of [leafDer, middleDer, rootDer].entries()) {
      for (let at = 0; at < original.length; at += count(1, 1, 7)) {
        const parts = [leafDer, middleDer, rootDer].map((bytes) => Uint8Array.from(bytes));
        const changed = parts[index];
        assert.ok(changed);
        changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
        const [first, ...others] = parts;
        assert.ok(first);
        await assert.rejects(
          async () => chain(first, ...others),
          (error) => error instanceof EvidenceError || error instanceof DecodeError,
          `byte ${at} of certificate ${index}`,
        );
        refusals++;
      }
    }
    console.log(`${refusals} single-byte changes refused`);
  });
});

describe('verifyNotRevoked', () => {
  const check = (crl: Uint8Array, subject = leafCert, issuer = middleCert, clock = now): Promise<void> =>
    coldAndWarm(async () => verifyNotRevoked(subject, issuer, parseCrlOnce(crl), { now: clock }));

  test('passes a certificate that is not on a current list', async () => {
    await check(middle.crl({ revoked: [1, 0x91n] }));
    await check(root.crl(), middleCert, rootCert);
  });

  const stranger = new FakeIdentity('Middle', 'ecdsa-sha384');
  const attacks: [string, EvidenceErrorCode, () => Promise<void>][] = [
    ['a revoked certificate', 'revoked', () => check(middle.crl({ revoked: [0x90n] }))],
    ['a list of another issuer', 'collateral', () => check(root.crl())],
    ['a list that a namesake signed', 'collateral', () => check(stranger.crl())],
    ['a stale list', 'validity', () => check(middle.crl(), leafCert, middleCert, EPOCH + 366 * DAY)],
    ['a list of the future', 'validity', () => check(middle.crl(), leafCert, middleCert, EPOCH - 1)],
  ];
  for (const [what, code, run] of attacks) test(`refuses ${what}`, () => refused(code, run));

  test('refuses every changed byte of a list', async () => {
    const good = middle.crl({ revoked: [5] });
    for (let at = 0; at < good.length; at++) {
      const changed = Uint8Array.from(good);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      await assert.rejects(
        async () => check(changed),
        (error) => error instanceof EvidenceError || error instanceof DecodeError,
      );
    }
  });

  test('does not read delta and partial lists', () => {
    for (const id of ['2.5.29.27', '2.5.29.28']) {
      const crl = middle.crl({ extensions: [{ oid: id, critical: true, value: sequence() }] });
      assert.throws(
        () => parseCrl(crl),
        (error) => error instanceof DecodeError && error.code === 'version',
      );
    }
  });
});

describe('parsePem', () => {
  test('reads blocks and nothing else', () => {
    const text = pemOf(leafDer, rootDer);
    assert.deepEqual(parsePem(`\n${text}\n`, 'CERTIFICATE').map(Buffer.from), [leafDer, rootDer].map(Buffer.from));
    for (const bad of [
      `${text}x`,
      `# note\n${text}`,
      text.replace('END C', 'END X'),
      text.slice(0, -30),
      text.replace('MII', 'M!I'),
    ]) {
      assert.throws(() => parsePem(bad, 'CERTIFICATE'), DecodeError);
    }
    assert.throws(() => parsePem(text, 'CERTIFICATE', 1), DecodeError);
    assert.throws(() => parsePem(text, 'X509 CRL'), DecodeError);
  });
});
