/** One call's declassification: messages that rules of the policy build, each at most once. */

import type { DescMessage, Message } from '@bufbuild/protobuf';
import type { Admission } from '../admission/admission.ts';
import type { Release } from '../admission/release-plan.ts';
import { RefusalError } from '../errors.ts';
import type { CallContext } from '../flow/call-flow.ts';
import { type Json, type JsonText, NULL_TEXT } from '../worker/json-text.ts';
import type { Operation } from '../worker/protocol.ts';
import type { Departures } from './departures.ts';
import { released } from './peer-messages.ts';
import { build } from './release.ts';

/** The parts of a call that its releases need. */
export interface CallReleasesOptions {
  readonly admission: Admission;
  readonly context: CallContext;
  readonly departures: Departures;
}

type Asked = Omit<Extract<Operation, { readonly kind: 'release' }>, 'kind' | 'call' | 'operation'>;

/** Builds and sends the messages of rules that a handler names in one call. */
export class CallReleases {
  readonly #options: CallReleasesOptions;
  readonly #used = new Set<string>();
  /** Messages whose outcome the handler does not receive. */
  readonly #untold = new Set<Promise<unknown>>();
  #request: { readonly type: DescMessage; readonly message: () => Message } | undefined;

  constructor(options: CallReleasesOptions) {
    this.#options = options;
  }

  /**
   * Keeps the caller's first message, of which releases take fields.
   *
   * **Leak**: if releases took the last message, a handler would choose it by how many it pulls,
   * and so send that number.
   *
   * @param message decodes it
   */
  took(type: DescMessage, message: () => Message): void {
    this.#request ??= { type, message };
  }

  /** Resolves when no message is pending whose outcome the handler does not receive. */
  async settled(): Promise<void> {
    while (this.#untold.size > 0) await Promise.allSettled(this.#untold);
  }

  /**
   * Builds the message of a rule and sends it.
   *
   * **Leak**: each rule works once in a call, so that a call tells at most one bit by it.
   *
   * @throws RefusalError `grant`, `assurance`, `flow`, `request`, `sovereignty`, `budget`, `log`,
   * `peer`
   */
  async release({ rule: id, keys }: Asked): Promise<JsonText> {
    const { admission, context, departures } = this.#options;
    const release = admission.releases.get(id);
    // A name that the policy does not have is text from the worker. It goes into no message and no
    // record.
    if (release === undefined) throw new RefusalError('grant', 'there is no such release');
    context.release(id);
    // layer: once in a call
    if (this.#used.has(id)) throw new RefusalError('grant', `release ${id} works once in a call`);
    this.#used.add(id);
    if (release.collections.length > 0) return this.#releaseOfRecords(release, keys);
    const { to } = release.rule;
    const built = build(release, this.#requested, () => null);
    const { status } = await departures.send(to, released(admission, release, built));
    if (status !== 'ok') throw new RefusalError('peer', `${to} did not take it`);
    return NULL_TEXT;
  }

  /**
   * Releases a message built from records. The handler is answered before the records are looked
   * at, and always in the same way. The outcome stands in the record of the call.
   *
   * **Leak**: the handler may not see these records, so its answer must not depend on them.
   */
  async #releaseOfRecords(release: Release, keys: Asked['keys']): Promise<JsonText> {
    const { context, departures } = this.#options;
    const { id, to } = release.rule;
    for (const name of release.collections) {
      if (!Object.hasOwn(keys, name)) throw new RefusalError('grant', `release ${id} needs the key of one of ${name}`);
      context.nameRecord(to, name);
    }
    // **Leak**: counted whether or not the message is sent. Otherwise the handler could tell the
    // outcome from what the call has left.
    await departures.reserve(to);
    // layer: one answer for every record
    void tracked(this.#untold, this.#sendRecords(release, keys));
    return NULL_TEXT;
  }

  async #sendRecords(release: Release, keys: Asked['keys']): Promise<void> {
    const { admission, context, departures } = this.#options;
    const { id, to } = release.rule;
    try {
      const records = new Map<string, Json>();
      for (const name of release.collections) records.set(name, await context.recordFor(to, name, keys[name] ?? ''));
      const built = build(release, this.#requested, (name) => records.get(name) ?? null);
      // A message built from records is searched for leaks; one from the request alone is not. The
      // policy's owner named what is taken of a request, but handlers wrote what is in records.
      const outgoing = released(admission, release, built);
      // layer: leak detectors on records
      context.lookAtRecord(outgoing.leaves);
      const { status } = await departures.sendReserved(to, outgoing);
      if (status !== 'ok') throw new RefusalError('peer', `${to} did not take it`);
    } catch (error) {
      // **Leak**: this is no record of its own. The number of records of a call is limited, and its
      // handler could count those that are left.
      departures.count(`release:${id} ${error instanceof RefusalError ? error.code : 'failed'}`);
    }
  }

  /** The caller's first message, decoded. */
  get #requested(): Parameters<typeof build>[1] {
    return this.#request && { descriptor: this.#request.type, message: this.#request.message() };
  }
}

/** Keeps a promise in a set for as long as it is pending. */
function tracked<T>(among: Set<Promise<unknown>>, work: Promise<T>): Promise<T> {
  const done = work.finally(() => among.delete(done));
  done.catch(() => {});
  among.add(done);
  return done;
}
