/** Attacks on who reads a proof of the log: by a host that owns the disk, by another boot, by a log with two faces. */

import { create, toBinary } from '@bufbuild/protobuf';
import { encodeCheckpointLeaf, encodeNonceLeaf, LEAF_TYPES } from '@enclaim/attestation/batch';
import { concat, u32be, utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { EvidenceSchema } from '@enclaim/attestation/evidence';
import { LABELS } from '@enclaim/attestation/labels';
import { type LogProof, LogProofSchema } from '@enclaim/attestation/log-service';
import { leafHash, MerkleTree, merkleRoot } from '@enclaim/attestation/merkle';
import { encodeRecordProof, type NamedRecord } from '@enclaim/attestation/record-proof';
import { encodeCoseReceipt, keyThumbprint, treeMessage } from '@enclaim/attestation/scitt';
import * as chain from '../../attestation/src/log/boot-chain.ts';
import * as whole from '../../attestation/src/log/record-proof.ts';
import * as receipts from '../../client/src/log/saved-receipt.ts';
import * as files from '../../client/src/proof-file.ts';
import { makeBootKeys } from '../../runtime/src/boot/keys.ts';
import { FakeDisk } from '../../runtime/test/log/support.ts';
import { asLater, bootOn, type DiskBoot, namedOn } from '../support/boots-on-disk.ts';
import { type Boot, boot, forged, grow, machine, named } from '../support/proven-boot.ts';
import type { Attack } from './attack.ts';
import { passes } from './source-attack.ts';
import { weakened } from './weakened.ts';

const RECEIPTS = 'client/src/log/saved-receipt.ts';
const CHAIN = 'attestation/src/log/boot-chain.ts';
const VERIFIER = 'attestation/src/log/record-proof.ts';

/** A proof and the record that a receipt names. */
interface Forgery {
  readonly proof: LogProof;
  readonly record: NamedRecord;
}

/** The verifier is led to believe a forgery. */
function onVerifier(
  name: string,
  layer: string,
  forge: () => Promise<Forgery>,
  off: readonly string[] = [layer],
): Attack {
  const believed = async ({ verifyRecordProof }: typeof whole): Promise<boolean> => {
    const { proof, record } = await forge();
    return passes(() =>
      verifyRecordProof(encodeRecordProof(proof), record, machine.references.anchors, { now: Date.now() }),
    );
  };
  return {
    group: 'proof',
    name,
    layer,
    attempt: () => believed(whole),
    control: async () => believed(await import(weakened(VERIFIER, { off }))),
  };
}

/** A tree that begins as the log of a boot, with another first record: what another client is shown. */
const otherFace = ({ log }: Boot) => log.hashes.with(0, leafHash(utf8('what another client is shown')));

const leafOf = (type: keyof typeof LEAF_TYPES, text: string): Uint8Array =>
  concat(Uint8Array.of(LEAF_TYPES[type]), u32be(text.length), utf8(text));

/** A reader of a COSE receipt of a boot is led to believe a record that the boot found on its disk. */
function onReceipt(name: string, layer: string): Attack {
  const believed = async ({ verifyCoseReceiptFile }: typeof receipts): Promise<boolean> => {
    const { keys, statement, log, batcher, evidenceOf } = grow(boot({ found: 5 }), 9);
    // The runtime signs this tree, and anyone makes the path: the host needs no key.
    const tree = { origin: statement.log.origin, subject: LABELS.record, size: log.hashes.length };
    const signature = keys.signCheckpoint(treeMessage(tree, merkleRoot(log.hashes), keys.log));
    const path = new MerkleTree(log.hashes).path(2);
    const nonce = { nonce: sha256(utf8('nonce')), spki: keys.tls.spkiDigest, exporter: null };
    const evidence = toBinary(EvidenceSchema, evidenceOf(await batcher.add(encodeNonceLeaf(nonce))));
    const companion = { known: log.hashes[2] ?? new Uint8Array(), evidence };
    const proof = { kind: 'inclusion', index: 2, path } as const;
    const bytes = encodeCoseReceipt({ tree, keyId: keyThumbprint(keys.log), proof, signature, companion });
    return passes(() => verifyCoseReceiptFile(bytes, { references: machine.references }));
  };
  return {
    group: 'proof',
    name,
    layer,
    attempt: () => believed(receipts),
    control: async () => believed(await import(weakened(RECEIPTS, { off: [layer] }))),
  };
}

/** The verifier of a chain of boots is led to believe one. */
function onChain(
  name: string,
  layer: string,
  forge: () => Promise<Parameters<typeof chain.verifyBootChain>>,
  off: readonly string[] = [layer],
): Attack {
  const believed = async ({ verifyBootChain }: typeof chain): Promise<boolean> => {
    const forged = await forge();
    return passes(() => verifyBootChain(...forged));
  };
  return {
    group: 'proof',
    name,
    layer,
    attempt: () => believed(chain),
    control: async () => believed(await import(weakened(CHAIN, { off }))),
  };
}

/** A boot that wrote a few records on a disk. */
async function booted(disk: FakeDisk, records: number): Promise<DiskBoot> {
  const one = await bootOn(disk);
  await one.write(records);
  return one;
}

const from = async ({ log }: DiskBoot, size: number) => ({ size, root: await log.rootAt(size) });
const { anchors } = machine.references;

/** A proof file with a chain of boots in it, as an auditor keeps it. */
async function spliced({ proofFile, verifyProofFile }: typeof files): Promise<boolean> {
  const [disk, other] = [new FakeDisk(), new FakeDisk()];
  const one = await booted(disk, 3);
  await booted(other, 3);
  const two = await booted(other, 2);
  const proof = encodeRecordProof(await one.checkpoints.proofOf(1));
  const file = proofFile((await namedOn(one.log, 1)).record, proof, [await asLater(two, two.log, 4)]);
  return passes(() => verifyProofFile(file, { references: machine.references }));
}

const FILES = 'client/src/proof-file.ts';
const LINKED = 'boots begin with the tree of those before';
const fileAttacks: readonly Attack[] = [
  {
    group: 'proof',
    name: 'a proof file whose later boots are swapped for those of another log',
    layer: LINKED,
    attempt: () => spliced(files),
    control: async () => spliced(await import(weakened(FILES, { off: [LINKED] }))),
  },
];

const chainAttacks: readonly Attack[] = [
  ...fileAttacks,
  onChain(
    'a boot on the disk of yesterday, after one of today',
    'boots go on where those before were',
    async () => {
      const disk = new FakeDisk();
      await booted(disk, 3);
      const yesterday = disk.copy();
      const [today, back] = [await booted(disk, 4), await booted(yesterday, 9)];
      // A proof from the longer tree to the shorter one is none, so the host gives that of the same size.
      const later = { ...(await asLater(back, back.log, 4)), found: [] };
      const tree = { size: 9, root: (await from(back, 4)).root };
      return [{ ...tree, size: today.log.size }, [later], anchors, { now: Date.now() }];
    },
    ['boots go on where those before were', 'boots begin with the tree of those before'],
  ),
  onChain('a boot that found another tree', 'boots begin with the tree of those before', async () => {
    const [disk, other] = [new FakeDisk(), new FakeDisk()];
    const one = await booted(disk, 3);
    await booted(other, 3);
    const two = await booted(other, 2);
    return [await from(one, 4), [await asLater(two, two.log, 4)], anchors, { now: Date.now() }];
  }),
  onChain('a boot whose tree does not begin with what it found', 'boots continue what they found', async () => {
    const disk = new FakeDisk();
    await booted(disk, 3);
    const two = await booted(disk, 2);
    return [await from(two, 4), [{ ...(await asLater(two, two.log, 4)), grown: [] }], anchors, { now: Date.now() }];
  }),
];

export const proofAttacks: readonly Attack[] = [
  ...chainAttacks,
  onReceipt("a record of the host's disk in a COSE receipt of this boot", 'start of the boot of a receipt'),
  onVerifier("a record of the host's disk under this boot's quote", 'start of the boot', async () => {
    const one = grow(boot({ found: 5 }), 9);
    const { text, note } = one.note(9, merkleRoot(one.log.hashes));
    const path = new MerkleTree(one.log.hashes).path(2);
    return { proof: await forged(one, 2, path, note, encodeCheckpointLeaf(text)), record: named(2) };
  }),
  onVerifier('a second face of the log, signed by its key and never quoted', 'checkpoint under the quote', async () => {
    const one = grow(boot(), 8);
    const tree = otherFace(one);
    const { note } = one.note(8, merkleRoot(tree));
    const proof = await one.checkpoints.proofOf(7);
    return { proof: { ...proof, path: new MerkleTree(tree).path(7), checkpoint: note }, record: named(7) };
  }),
  onVerifier('a record that is not in the tree', 'root of the checkpoint', async () => {
    const proof = await grow(boot(), 8).checkpoints.proofOf(7);
    return { proof, record: { index: 7, record: digestText('sha256', sha256(utf8('never written'))) } };
  }),
  onVerifier('a proof of a neighbour', 'index of the record', async () => {
    const one = grow(boot(), 8);
    const { path, checkpoint, evidence } = await one.checkpoints.proofOf(5);
    return {
      proof: create(LogProofSchema, { index: 4n, path, checkpoint, ...(evidence && { evidence }) }),
      record: named(5),
    };
  }),
  onVerifier('a checkpoint that another key signed', 'a given key signed', async () => {
    const one = grow(boot(), 8);
    const { text, note } = one.note(8, merkleRoot(one.log.hashes), { by: makeBootKeys() });
    const path = new MerkleTree(one.log.hashes).path(3);
    return { proof: await forged(one, 3, path, note, encodeCheckpointLeaf(text)), record: named(3) };
  }),
  ...(['nonce', 'padding'] as const).map((type) =>
    onVerifier(`a ${type} leaf with the text of a checkpoint`, 'type of a leaf', async () => {
      const one = grow(boot(), 8);
      const { text, note } = one.note(8, merkleRoot(one.log.hashes));
      const path = new MerkleTree(one.log.hashes).path(3);
      return { proof: await forged(one, 3, path, note, leafOf(type, text)), record: named(3) };
    }),
  ),
];
