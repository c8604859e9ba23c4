/** A collection in memory that tests change without a call: each change by itself, checked and made at once. */

import { ANYONE } from '@enclaim/policy-schema/admission';
import type { Change, FoundKeys } from '../../runtime/src/storage/collection.ts';
import { type CollectionOptions, VolatileCollection } from '../../runtime/src/storage/volatile.ts';
import { type Json, jsonText } from '../../runtime/src/worker/json-text.ts';

/** Where a value came from, and whose room it takes; by default from nowhere, and anyone's. */
export interface Made {
  readonly since?: number;
  readonly owner?: string;
}

const WHOLE = { prefix: '', after: '', limit: Number.POSITIVE_INFINITY };
let versions = 0;

/** One of them. By default it is on the kernel's clock. */
export class Shelf extends VolatileCollection {
  constructor(name: string, retention: number, options: Partial<CollectionOptions> = {}) {
    super(name, retention, { now: () => performance.now(), ...options });
  }

  put(key: string, value: Json, label: readonly string[], made: Made = {}): void {
    const version = String(versions++).padStart(16, '0');
    const whose = { since: Number.POSITIVE_INFINITY, owner: ANYONE, ...made };
    this.make({ kind: 'put', key, label, value: jsonText(value), version, ...whose });
  }

  delete(key: string, label: readonly string[]): void {
    this.make({ kind: 'delete', key, label });
  }

  make(...changes: readonly Change[]): void {
    this.check(changes);
    this.apply(changes);
  }

  /** All keys. */
  all(): FoundKeys {
    return this.list(WHOLE);
  }
}
