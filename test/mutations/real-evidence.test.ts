/**
 * Every byte of what real hardware signed, changed: refused. Cut at every length, and extended: refused. Runs over the
 * positive cases of the vectors beside the checkout, and says so where there are none.
 */

import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { VENDOR_ANCHORS } from '../../attestation/src/anchors.ts';
import { type VtpmQuote, verifyAzureSnp } from '../../attestation/src/azure/index.ts';
import { concat, fromHex, utf8 } from '../../attestation/src/bytes.ts';
import { EvidenceError } from '../../attestation/src/errors.ts';
import { verifyGceEndorsement } from '../../attestation/src/gcp/index.ts';
import { verifyNitro } from '../../attestation/src/nitro/index.ts';
import { verifyCorim, verifyEar } from '../../attestation/src/rats/index.ts';
import { verifySnp } from '../../attestation/src/snp/index.ts';
import { quoteLength, verifyTdx } from '../../attestation/src/tdx/index.ts';
import { parseAttest } from '../../attestation/src/tpm/attest.ts';
import { parseCertificate, parsePem, pinsOf } from '../../attestation/src/x509/index.ts';
import { count } from '../support/long.ts';
import { needs, VECTORS } from '../support/machine-needs.ts';

const here = needs('vectors');
/** With `--long` every byte; else every 17th, which is every bit in turn. */
const step = count(17, 1);

// biome-ignore lint/suspicious/noExplicitAny: manifests of eight forms
type Case = any;

/** Parts of one piece of evidence, by name, and what verifies them. */
interface Evidence {
  readonly parts: Readonly<Record<string, Uint8Array>>;
  /** The parts that are also cut and extended. */
  readonly whole: readonly string[];
  readonly verify: (parts: Readonly<Record<string, Uint8Array>>) => Promise<unknown>;
}

function casesOf(topic: string): Case[] {
  if (here.skip !== false) return [];
  return JSON.parse(readFileSync(join(VECTORS, topic, 'manifest.json'), 'utf8')).cases.filter(
    ({ polarity }: Case) => polarity === 'positive',
  );
}

function file(topic: string, path: string): Uint8Array {
  return new Uint8Array(readFileSync(join(VECTORS, topic, path)));
}

function certificates(topic: string, path: string): Uint8Array[] {
  return parsePem(readFileSync(join(VECTORS, topic, path), 'latin1'), 'CERTIFICATE');
}

/** Changes, cuts and extends; prints how often. */
async function sweep(name: string, { parts, whole, verify }: Evidence): Promise<void> {
  await verify(parts);
  const tried = { changed: 0, cut: 0, extended: 0 };
  const refuse = async (part: string, bytes: Uint8Array, what: string): Promise<void> => {
    const outcome = await verify({ ...parts, [part]: bytes }).then(
      () => 'accepted',
      (error: unknown) => error,
    );
    assert.ok(outcome instanceof EvidenceError, `${name}: ${part} ${what}: ${String(outcome)}`);
  };
  for (const [part, bytes] of Object.entries(parts)) {
    for (let at = 0; at < bytes.length; at += step, tried.changed++) {
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      await refuse(part, changed, `changed at ${at}`);
    }
  }
  for (const part of whole) {
    const bytes = parts[part] ?? new Uint8Array();
    for (let length = 0; length < bytes.length; length += step, tried.cut++) {
      await refuse(part, bytes.subarray(0, length), `cut to ${length}`);
    }
    for (const [more, fill] of [
      [1, 0],
      [16, 0],
      [4096, 0],
      [1, 0xff],
      [4096, 0xff],
    ] as const) {
      await refuse(part, concat(bytes, new Uint8Array(more).fill(fill)), `extended by ${more}`);
      tried.extended++;
    }
  }
  console.log(`${name}: ${tried.changed} changed, ${tried.cut} cut, ${tried.extended} extended, all refused`);
}

describe('real evidence, changed', here, () => {
  for (const one of casesOf('snp-reports').filter(({ files, synthetic }) => files.report && !synthetic)) {
    test(`snp ${one.id}`, async () => {
      const { files, expected } = one;
      const [ask, ark] = certificates('snp-reports', files.trust[0]);
      assert.ok(ask && ark);
      const parts = {
        report: file('snp-reports', files.report),
        leaf: file('snp-reports', files.vcek ?? files.vlek),
        ask,
        ark,
      };
      const now = Date.parse(expected.verify_at);
      await sweep(one.id, {
        parts,
        whole: ['report', 'leaf'],
        verify: ({ report = ask, leaf = ask, ask: second = ask, ark: root = ark }) =>
          verifySnp({ report, leaf, intermediates: [second, root], crl: 'none' }, VENDOR_ANCHORS.amd, { now }),
      });
    });
  }

  for (const one of casesOf('tdx-quotes')) {
    test(`tdx ${one.id}`, async () => {
      const { files, expected } = one;
      const padded = file('tdx-quotes', files.quote);
      const quote = padded.subarray(0, quoteLength(padded));
      const json = files.collateral
        ? JSON.parse(readFileSync(join(VECTORS, 'tdx-quotes', files.collateral), 'utf8'))
        : undefined;
      const now = Date.parse(expected.verify_at);
      const collateral: Record<string, Uint8Array> = json && {
        tcbInfo: utf8(json.tcb_info),
        tcbInfoSignature: fromHex(json.tcb_info_signature),
        qeIdentity: utf8(json.qe_identity),
        qeIdentitySignature: fromHex(json.qe_identity_signature),
        pckCrl: fromHex(json.pck_crl),
        rootCrl: fromHex(json.root_ca_crl),
      };
      const chain = (pem: string): Uint8Array[] => parsePem(pem, 'CERTIFICATE');
      await sweep(one.id, {
        // With collateral, it alone is swept; the quote was, in the case without.
        parts: collateral ?? { quote },
        whole: collateral ? ['tcbInfo', 'rootCrl'] : ['quote'],
        verify: (parts) => {
          const none = new Uint8Array();
          const {
            tcbInfo = none,
            tcbInfoSignature = none,
            qeIdentity = none,
            qeIdentitySignature = none,
            pckCrl = none,
            rootCrl = none,
          } = parts;
          const full = json && {
            tcbInfo,
            tcbInfoSignature,
            qeIdentity,
            qeIdentitySignature,
            pckCrl,
            rootCrl,
            tcbInfoChain: chain(json.tcb_info_issuer_chain),
            qeIdentityChain: chain(json.qe_identity_issuer_chain),
          };
          return verifyTdx({ quote: parts.quote ?? quote, collateral: full ?? 'none' }, VENDOR_ANCHORS.intel, { now });
        },
      });
    });
  }

  for (const one of casesOf('nitro')) {
    test(`nitro ${one.id}`, async () => {
      const doc = file('nitro', one.files.doc);
      await sweep(one.id, {
        parts: { doc },
        whole: ['doc'],
        verify: (parts) => verifyNitro(parts.doc ?? doc, VENDOR_ANCHORS.nitro, { now: one.expected.verify_at_ms }),
      });
    });
  }

  for (const one of casesOf('azure-hcl').filter(({ files }) => files.vcek)) {
    test(`azure ${one.id}`, async () => {
      const { files } = one;
      const [ask, ark] = certificates('azure-hcl', files.trust);
      assert.ok(ask && ark);
      const hcl = file('azure-hcl', files.hcl_report);
      const raw = file('azure-hcl', files.sig);
      const attest = file('azure-hcl', files.attest);
      const parsed = parseAttest(attest);
      assert.ok(parsed.type === 'quote');
      const values = Object.entries<string>(
        JSON.parse(readFileSync(join(VECTORS, 'azure-hcl', files.pcrs), 'utf8')).sha256,
      );
      const vtpm: VtpmQuote = {
        attest,
        signature: concat(Uint8Array.of(0, 0x14, 0, 0x0b, raw.length >> 8, raw.length & 0xff), raw),
        selection: parsed.selection,
        banks: new Map([['sha256', new Map(values.map(([index, hex]) => [Number(index), fromHex(hex)]))]]),
        expectedExtraData: parsed.extraData,
      };
      // The header's request type, and its version within 1 and 2, are nobody's statement.
      await sweep(one.id, {
        parts: {
          report: hcl.subarray(0x20, 0x4c0),
          runtime: hcl.subarray(0x4d4, 0x4d4 + 1000),
          attest,
          signature: vtpm.signature,
        },
        whole: ['attest', 'signature'],
        verify: ({ report = hcl, runtime = hcl, attest: quoted = attest, signature = raw }) => {
          const hclReport = concat(
            hcl.subarray(0, 0x20),
            report,
            hcl.subarray(0x4c0, 0x4d4),
            runtime,
            hcl.subarray(0x4d4 + 1000),
          );
          const evidence = {
            hclReport,
            leaf: file('azure-hcl', files.vcek),
            intermediates: [ask, ark],
            crl: 'none' as const,
          };
          return verifyAzureSnp({ ...evidence, vtpm: { ...vtpm, attest: quoted, signature } }, VENDOR_ANCHORS.amd, {
            now: Date.UTC(2026, 8, 1),
          });
        },
      });
    });
  }

  for (const one of casesOf('gcp-endorsements').slice(0, 1)) {
    test(`gcp ${one.id}`, async () => {
      const endorsement = file('gcp-endorsements', one.files.endorsement);
      const roots = certificates('gcp-endorsements', one.files.trusted_root);
      const pins = roots.map((der) => pinsOf(parseCertificate(der)).certificate);
      await sweep(one.id, {
        parts: { endorsement },
        whole: ['endorsement'],
        verify: (parts) =>
          verifyGceEndorsement(parts.endorsement ?? endorsement, roots, pins, {
            now: Date.parse(one.expected.verify_at),
          }),
      });
    });
  }

  for (const one of casesOf('rats').filter(({ files }) => files.key)) {
    test(`rats ${one.id}`, async () => {
      const jwk = JSON.parse(readFileSync(join(VECTORS, 'rats', one.files.key), 'utf8'));
      const spki = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'der' });
      const signed = file('rats', one.files.token ?? one.files.cbor);
      const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
      await sweep(one.id, {
        parts: { signed: one.files.token ? utf8(text(signed).trim()) : signed },
        whole: ['signed'],
        verify: (parts) => {
          const bytes = parts.signed ?? signed;
          return one.files.token
            ? verifyEar(text(bytes), spki, 'ES256')
            : verifyCorim(bytes, spki, -7, { now: Date.UTC(2024, 0, 1) });
        },
      });
    });
  }
});
