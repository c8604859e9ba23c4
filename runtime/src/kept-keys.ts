/**
 * Keys between machines: a boot whose keys another machine keeps, and one that keeps keys of
 * machines without a TPM.
 */

import { toBinary } from '@bufbuild/protobuf';
import { EvidenceSchema } from '@enclaim/attestation/messages';
import type { Policy, PolicyDigest } from '@enclaim/policy-schema/admission';
import type { Admission } from './admission/admission.ts';
import { machineReferences } from './admission/peer-references.ts';
import { type Attested, evidenceFor } from './channel/handshake.ts';
import type { KeepingSource } from './channel/keeper-service.ts';
import type { BootClock } from './clock.ts';
import { PeerKeeper } from './egress/peer-keeper.ts';
import type { Resolve } from './egress/resolver.ts';
import { RefusalError } from './errors.ts';
import { type EntryOptions, keptRecord } from './log/entry.ts';
import type { RecordLog } from './log/record-log.ts';
import type { Keeper } from './storage/sealed/keeper.ts';
import { KEPT_COLLECTION, KeptEpochs } from './storage/sealed/kept-epochs.ts';
import type { SealedStore } from './storage/sealed/sealed-store.ts';

const HTTPS_PORT = 443;

/** Evidence of a boot for the machine that keeps its keys: that it asks, and then its statement. */
export interface ShownBoot {
  attested: Attested | undefined;
}

/** Whether a policy has a keeper for machines that have none of their own. */
export function hasPeer({ storage }: Policy): boolean {
  return storage?.keeper !== undefined;
}

/** The machine that a policy has keep the keys. @throws RefusalError `policy` */
export function peerKeeper(
  { policy, digest }: Admission,
  resolve: Resolve,
  clock: Pick<BootClock, 'now'>,
  boot: ShownBoot,
): PeerKeeper {
  const keeper = policy.storage?.keeper;
  if (keeper === undefined) throw new RefusalError('policy', 'the policy names no keeper');
  const { host, port } = placeOf(keeper.address);
  const of: PolicyDigest = keeper.policy === 'same' ? digest : keeper.policy;
  const references = machineReferences(keeper, of);
  const identity = { attested: { policy: of, image: 'any' } } as const;
  return new PeerKeeper({
    keeper: { name: keeper.address, host, port, identity, references, credential: undefined },
    resolve,
    now: () => clock.now(),
    show: async (nonce, exporter) => {
      if (boot.attested === undefined) throw new RefusalError('keeper', 'this boot has no statement yet');
      return toBinary(EvidenceSchema, await evidenceFor({ nonce, exporter }, boot.attested));
    },
  });
}

function placeOf(address: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(address);
  return { host: hostname, port: Number(port) || HTTPS_PORT };
}

/**
 * Whether this machine keeps keys of other machines: its policy says so, and it has a keeper of its
 * own.
 *
 * **Trust**: a machine whose own keys a peer keeps keeps none, so that each chain ends at a chip.
 */
export function keepsKeys({ storage }: Policy, keeper: Keeper | undefined): boolean {
  return storage?.keeps !== undefined && keeper !== undefined && keeper.kind !== 'peer';
}

/** Keys of other machines, as they are kept and served; undefined if this machine keeps none. */
export async function keepingOf(
  store: SealedStore | undefined,
  log: RecordLog,
  said: EntryOptions & { readonly clock: BootClock },
): Promise<(KeepingSource & { close(): Promise<void> }) | undefined> {
  const collection = store?.collections.get(KEPT_COLLECTION);
  const { keeps } = said.admission.policy.storage ?? {};
  if (store === undefined || collection === undefined || keeps === undefined) return undefined;
  // Of the room of calls: askers come from outside.
  const record = (step: Parameters<typeof keptRecord>[1]): Promise<unknown> =>
    log.place(keptRecord(said, step)).durable;
  const kept = await KeptEpochs.open({ store, collection, record });
  return { kept, keeps, now: () => said.clock.now(), close: () => kept.close() };
}
