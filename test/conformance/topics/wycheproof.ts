/**
 * Project Wycheproof. Signatures go through both halves of the crypto seam, node:crypto and WebCrypto, which must
 * agree; the other primitives are those of node:crypto that the runtime uses.
 */

import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  timingSafeEqual,
} from 'node:crypto';
import * as nodeSeam from '../../../attestation/src/crypto/node.ts';
import type { CryptoSeam, SignatureScheme } from '../../../attestation/src/crypto/scheme.ts';
import * as webSeam from '../../../attestation/src/crypto/web.ts';
import type { HashName } from '../../../attestation/src/digest.ts';
import { DecodeError } from '../../../attestation/src/errors.ts';
import { type Case, fileOf, type Outcome } from '../topic.ts';

export const topic = 'wycheproof';

interface Test {
  readonly tcId: string | number;
  readonly result: 'valid' | 'invalid' | 'acceptable';
  readonly [field: string]: unknown;
}

interface Group {
  readonly type: string;
  readonly tests: readonly Test[];
  readonly sha?: string;
  readonly sLen?: number | string;
  readonly tagSize?: number | string;
  readonly publicKeyDer?: string;
}

const SEAMS: readonly CryptoSeam[] = [nodeSeam, webSeam];

/** Whether a test's inputs are accepted and give its outputs. */
type Judge = (test: Test, group: Group) => boolean | Promise<boolean>;

const JUDGES: Readonly<Record<string, Judge>> = {
  EddsaVerify: verify(() => ({ kind: 'ed25519' })),
  EcdsaVerify: verify((group) => ({ kind: 'ecdsa', hash: hashOf(group), encoding: 'der' })),
  EcdsaP1363Verify: verify((group) => ({ kind: 'ecdsa', hash: hashOf(group), encoding: 'p1363' })),
  RsassaPssVerify: verify((group) => ({ kind: 'rsa-pss', hash: hashOf(group), saltLength: Number(group.sLen) })),
  RsassaPkcs1Verify: verify((group) => ({ kind: 'rsassa', hash: hashOf(group) })),
  AeadTest: judgeAead,
  HkdfTest: judgeHkdf,
  MacTest: judgeMac,
  XdhComp: judgeXdh,
};

export async function run(test: Case, dir: string): Promise<Outcome> {
  const file = JSON.parse(Buffer.from(await fileOf(test, 'vectors', dir)).toString()) as { testGroups: Group[] };
  const { tests } = test.expected as { tests: number };
  const wrong: unknown[] = [];
  let count = 0;
  for (const group of file.testGroups) {
    for (const one of group.tests) {
      count++;
      const got = (await JUDGES[group.type]?.(one, group)) ?? `no judge for ${group.type}`;
      if (one.result !== 'acceptable' && got !== (one.result === 'valid')) wrong.push(one.tcId);
    }
  }
  return { exact: wrong.length === 0 && count === tests, expected: tests, got: { count, wrong } };
}

function verify(schemeOf: (group: Group) => SignatureScheme): Judge {
  return async (test, group) => {
    const answers = await Promise.all(SEAMS.map((seam) => verifyWith(seam, schemeOf(group), test, group)));
    if (answers.every((answer) => answer === answers[0])) return answers[0] === true;
    throw new Error(`test ${test.tcId}: the two halves of the seam disagree`);
  };
}

async function verifyWith(seam: CryptoSeam, scheme: SignatureScheme, test: Test, group: Group): Promise<boolean> {
  try {
    const key = await seam.importKey(hex(group.publicKeyDer));
    return await seam.verifySignature(scheme, key, hex(test.msg), hex(test.sig));
  } catch (error) {
    if (error instanceof DecodeError) return false;
    throw error;
  }
}

function judgeAead(test: Test, group: Group): boolean {
  const [key, iv, aad, message, text, tag] = ['key', 'iv', 'aad', 'msg', 'ct', 'tag'].map((name) => hex(test[name]));
  const algorithm = `aes-${(key?.length ?? 0) * 8}-gcm` as 'aes-256-gcm';
  const options = { authTagLength: Number(group.tagSize) / 8 };
  return attempt(() => {
    const sealer = createCipheriv(algorithm, key ?? iv ?? '', iv ?? '', options).setAAD(aad ?? hex(''));
    const sealed = Buffer.concat([sealer.update(message ?? hex('')), sealer.final(), sealer.getAuthTag()]);
    const opener = createDecipheriv(algorithm, key ?? '', iv ?? '', options)
      .setAAD(aad ?? hex(''))
      .setAuthTag(tag ?? hex(''));
    const opened = Buffer.concat([opener.update(text ?? hex('')), opener.final()]);
    return opened.equals(message ?? hex('')) && sealed.equals(Buffer.concat([text ?? hex(''), tag ?? hex('')]));
  });
}

function judgeHkdf(test: Test): boolean {
  return attempt(() => {
    const made = hkdfSync('sha256', hex(test.ikm), hex(test.salt), hex(test.info), Number(test.size));
    return Buffer.from(made).equals(hex(test.okm));
  });
}

function judgeMac(test: Test, group: Group): boolean {
  const made = createHmac('sha256', hex(test.key)).update(hex(test.msg)).digest();
  const tag = hex(test.tag);
  return tag.length === Number(group.tagSize) / 8 && timingSafeEqual(made.subarray(0, tag.length), tag);
}

function judgeXdh(test: Test): boolean {
  return attempt(() => {
    const prefix = { private: '302e020100300506032b656e04220420', public: '302a300506032b656e032100' };
    const der = (name: 'private' | 'public'): Buffer => hex(`${prefix[name]}${test[name]}`);
    const privateKey = createPrivateKey({ key: der('private'), format: 'der', type: 'pkcs8' });
    const publicKey = createPublicKey({ key: der('public'), format: 'der', type: 'spki' });
    return diffieHellman({ privateKey, publicKey }).equals(hex(test.shared));
  });
}

/** The primitives of node:crypto refuse by throwing. */
function attempt(run: () => boolean): boolean {
  try {
    return run();
  } catch {
    return false;
  }
}

function hashOf({ sha = '' }: Group): HashName {
  return sha.toLowerCase().replace('-', '') as HashName;
}

function hex(text: unknown): Buffer {
  return Buffer.from(String(text ?? ''), 'hex');
}
