/** A release of a log as a Transparent Statement (RFC 9943), signed by the log's key. */

import { equalBytes } from '@enclaim/attestation/bytes';
import { leafHash, MerkleTree } from '@enclaim/attestation/merkle';
import { encodeRelease, type Release, releaseContent } from '@enclaim/attestation/release';
import {
  encodeCoseReceipt,
  encodeStatement,
  keyThumbprint,
  statementMessage,
  treeMessage,
} from '@enclaim/attestation/scitt';
import { ed25519Key } from '@enclaim/attestation/statement';
import { ImageError } from '../errors.ts';
import { type LogSigner, nameOf, type ReleaseFolder } from './release-folder.ts';

/**
 * The statement of a release that is in the log. The receipt is of the tree whose checkpoint the
 * log's key has signed before: no tree is signed here that was not.
 * @param log as `readReleaseLog` verified it under the signer's key
 * @throws ImageError `log-invalid`
 */
export function stateRelease(log: ReleaseFolder, release: Release, signer: LogSigner): Uint8Array {
  const { checkpoint, entries } = log;
  const entry = encodeRelease(release);
  const index = entries.findIndex((one) => equalBytes(one, entry));
  if (index < 0) throw new ImageError('log-invalid', `${nameOf(release)} is not in the log`);
  const key = ed25519Key(signer.key.publicKey);
  const keyId = keyThumbprint(key);
  const content = releaseContent(checkpoint.origin, release);
  const tree = { origin: checkpoint.origin, subject: content.subject, size: checkpoint.size };
  const path = new MerkleTree(entries.map(leafHash)).path(index);
  const receipt = encodeCoseReceipt({
    tree,
    keyId,
    proof: { kind: 'inclusion', index, path },
    signature: signer.sign(treeMessage(tree, checkpoint.root, key)),
    companion: null,
  });
  const signature = signer.sign(statementMessage(content, key));
  return encodeStatement({ ...content, keyId, signature, receipts: [receipt] });
}
