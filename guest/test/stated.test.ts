/** What the supervisor signs for: one statement, and in it nothing else than was measured. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { concat, toBase64, utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import { type BootStatement, bootDigest, encodeStatement } from '@enclaim/attestation/statement';
import type { BootMessage } from '@enclaim/runtime/control';
import { knownOf, StatedBoot } from '../src/stated-boot.ts';

const digest = digestText('sha256', sha256(utf8('any')));
const large = (text: string) => digestText('sha384', sha384(utf8(text)));
const eventLog = utf8('events');
const message = {
  image: 'enclaim-1',
  bundle: { policyDigest: large('policy'), digest: large('bundle') },
  hardware: { kind: 'tdx', eventLog: toBase64(eventLog) },
} as unknown as BootMessage;
const statement: BootStatement = {
  version: 2,
  platform: 'tdx',
  bootId: '00'.repeat(16),
  policy: large('policy'),
  bundle: large('bundle'),
  image: 'enclaim-1',
  device: { ak: null, ek: null, ekCertificate: null },
  events: digestText('sha256', sha256(eventLog)),
  keys: { tls: digest, receipt: `ed25519:${'A'.repeat(43)}` },
  log: { origin: 'clinic/1', size: 0, head: digest },
  unconfined: [],
  owner: null,
  started: { at: '2026-01-01T00:00:00.000Z', strength: 'host' },
};
const root = new Uint8Array(32).fill(7);

describe('a boot statement', () => {
  test('that is true is taken, and every quote covers it', () => {
    const stated = new StatedBoot(knownOf(message));
    stated.state(encodeStatement(statement));
    assert.deepEqual(
      Buffer.from(stated.covered(root)),
      Buffer.from(concat(root, bootDigest(encodeStatement(statement)))),
    );
  });

  const { events: _, ...silent } = statement;
  for (const [what, lie] of [
    ['another bundle', { ...statement, bundle: large('another') }],
    ['another policy', { ...statement, policy: large('another') }],
    ['another platform', { ...statement, platform: 'tpm' }],
    ['another image', { ...statement, image: 'enclaim-2' }],
    ['another event log', { ...statement, events: digest }],
    ['no event log', silent],
    ['less confinement than there is', { ...statement, unconfined: ['user'] }],
  ] as const) {
    test(`that says ${what} is refused, and nothing is signed for it`, () => {
      const stated = new StatedBoot(knownOf(message));
      assert.throws(() => stated.state(encodeStatement(lie)), RangeError);
      assert.throws(() => stated.covered(root), RangeError);
    });
  }

  test('that states an event log where there is none is refused', () => {
    const stated = new StatedBoot(knownOf({ ...message, hardware: { kind: 'tdx', eventLog: null } }));
    assert.throws(() => stated.state(encodeStatement(statement)), RangeError);
    stated.state(encodeStatement(silent));
  });

  describe('of sealed state', () => {
    const { head: _, ...log } = statement.log as typeof statement.log & { head: string };
    const begun = { keeper: 'tpm', epoch: 7, began: 'kept' } as const;
    const recovered = { ...begun, began: 'recovered', recovery: digest } as const;
    const other = `sha256:${'e'.repeat(64)}` as const;
    const current = {
      ...statement,
      version: 3,
      keys: { ...statement.keys, log: `ed25519:${'B'.repeat(43)}` },
      log: { ...log, root: digest, minimum: 0, left: 9 },
    } as BootStatement;

    test('says the epoch that this boot began with its keeper', () => {
      const stated = new StatedBoot(knownOf(message), () => begun);
      stated.state(encodeStatement({ ...current, storage: begun } as BootStatement));
      stated.covered(root);
    });

    test('that names no storage ends the use of the keeper, and follows none', () => {
      const stated = new StatedBoot(knownOf(message));
      stated.state(encodeStatement(statement));
      assert.throws(() => stated.useKeeper(), /no storage/);
      const used = new StatedBoot(knownOf(message));
      used.useKeeper();
      assert.throws(() => used.state(encodeStatement(statement)), /storage none, and the keeper has given a key/);
      assert.throws(() => used.covered(root), RangeError);
    });

    test('that names storage goes on using the keeper', () => {
      const stated = new StatedBoot(knownOf(message), () => begun);
      stated.useKeeper();
      stated.state(encodeStatement({ ...current, storage: begun } as BootStatement));
      stated.useKeeper();
    });

    for (const [what, known, storage] of [
      ['a keeper where the platform has none', null, begun],
      ['nothing, where an epoch was begun', begun, undefined],
      ['another epoch', begun, { ...begun, epoch: 6 }],
      ['another keeper', begun, { ...begun, keeper: 'simulated' }],
      ['that signers stated a recovery', begun, { ...begun, began: 'recovered', recovery: digest }],
      ['another recovery', recovered, { ...recovered, recovery: other }],
      ['kept state, where a recovery was stated', recovered, begun],
      ['a new beginning, where something was kept', begun, { ...begun, began: 'new' }],
    ] as const) {
      test(`that says ${what} is refused, and nothing is signed for it`, () => {
        const stated = new StatedBoot(knownOf(message), () => known);
        const lie = { ...current, ...(storage && { storage }) } as BootStatement;
        assert.throws(() => stated.state(encodeStatement(lie)), /storage/);
        assert.throws(() => stated.covered(root), RangeError);
      });
    }
  });

  describe('of a boot whose keys a peer keeps', () => {
    const storageOf = (storage: object, more: object = {}): Uint8Array => {
      const keys = { ...statement.keys, log: `ed25519:${'B'.repeat(43)}` };
      const log = { origin: 'clinic/1', size: 0, root: digest, minimum: 0, left: 1 };
      return encodeStatement({ ...statement, version: 3, keys, log, storage, ...more } as BootStatement);
    };
    const asking = storageOf({ keeper: 'peer', epoch: 0, began: 'asking' });
    const peer = { policy: large('peer'), boot: digest };
    const kept = storageOf({ keeper: 'peer', epoch: 3, began: 'kept', peer });
    const statedOf = (hasPeer: boolean) => new StatedBoot({ ...knownOf(message), hasPeer });

    test('comes in two: that it asks, and what it was told; each quote covers the latest', () => {
      const stated = statedOf(true);
      for (const one of [asking, kept]) {
        stated.state(one);
        assert.deepEqual(Buffer.from(stated.covered(root)), Buffer.from(concat(root, bootDigest(one))));
      }
      for (const one of [asking, kept]) assert.throws(() => stated.state(one), RangeError);
    });

    test('is refused where no peer keeps keys, or none was asked', () => {
      for (const one of [asking, kept]) assert.throws(() => statedOf(false).state(one), /peer/);
      assert.throws(() => statedOf(true).state(kept), /not asked/);
    });

    test('has the keys of the one that asked, and its id', () => {
      const other = { bootId: '11'.repeat(16) };
      for (const one of [
        storageOf({ keeper: 'peer', epoch: 3, began: 'kept', peer }, other),
        encodeStatement(statement),
      ]) {
        const stated = statedOf(true);
        stated.state(asking);
        assert.throws(() => stated.state(one), /other keys/);
      }
    });
  });

  test('that names no storage, after a peer was asked, is refused', () => {
    const keys = { ...statement.keys, log: `ed25519:${'B'.repeat(43)}` };
    const log = { origin: 'clinic/1', size: 0, root: digest, minimum: 0, left: 1 };
    const current = { ...statement, version: 3, keys, log } as BootStatement;
    const stated = new StatedBoot({ ...knownOf(message), hasPeer: true });
    const asking = { ...current, storage: { keeper: 'peer', epoch: 0, began: 'asking' } };
    stated.state(encodeStatement(asking as BootStatement));
    assert.throws(() => stated.state(encodeStatement(current)), /names no peer/);
  });

  test('is one: other keys get no signature in the same boot', () => {
    const stated = new StatedBoot(knownOf(message));
    stated.state(encodeStatement(statement));
    const covered = stated.covered(root);
    assert.throws(() => stated.state(encodeStatement({ ...statement, bootId: '11'.repeat(16) })), RangeError);
    assert.throws(() => stated.state(encodeStatement(statement)), RangeError);
    assert.deepEqual(stated.covered(root), covered);
  });

  test('comes before the first quote, which is over 32 bytes', () => {
    const stated = new StatedBoot(knownOf(message));
    assert.throws(() => stated.covered(root), RangeError);
    stated.state(encodeStatement(statement));
    for (const length of [0, 31, 33, 64]) assert.throws(() => stated.covered(new Uint8Array(length)), RangeError);
    assert.throws(() => stated.state(utf8('not a statement')), { name: 'DecodeError' });
  });
});
