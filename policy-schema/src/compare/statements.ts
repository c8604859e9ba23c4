/**
 * Statements of a policy, one by one, each with the order by which it compares with another
 * policy's.
 */

import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import { type Category, covers } from '../category.ts';
import { isAttestedOnly, methodsOf } from '../claim.ts';
import { ANYONE, type Named, type PeerIdentity, type Policy, type Rule } from '../policy.ts';
import {
  bytesOf,
  type Duration,
  endOf,
  millisecondsOf,
  QUOTED_BY_DEFAULT,
  quotedWithin,
  secondsOf,
} from '../quantity.ts';
import { quorumClauses } from '../tlog-policy.ts';

type Path = readonly PropertyKey[];

/** A set of names; {@link ANY} has every name. */
export type Members = ReadonlySet<string> | typeof ANY;

/**
 * A policy's statement about one thing, and how it compares.
 *
 * - `may`: what is permitted; a member more is weaker.
 * - `must`: what is obliged; a member less is weaker.
 * - `list`: neither.
 * - `most`: an upper limit; a higher one is weaker.
 * - `least`: a lower limit; a lower one is weaker.
 * - `same`: without order; another one is incomparable.
 * - `words`: for people; another one is equal.
 *
 * A thing that only one of two policies speaks of is not compared: a `may` or a `must` about it
 * says that it came or went.
 */
export type Statement = { readonly aspect: string; readonly path: Path; readonly says: string } & (
  | {
      readonly order: 'may' | 'must' | 'list';
      readonly does: string;
      readonly members: Members;
      readonly show?: (name: string) => string;
      /** Whether a member says all that another one says. */
      readonly entails?: (member: string, other: string) => boolean;
    }
  | { readonly order: 'most' | 'least'; readonly limit: number; readonly shown: string }
  | { readonly order: 'same' | 'words'; readonly value: unknown }
);

/** Names from both policies that a comparison needs. */
export interface Common {
  /**
   * Categories that both have: an obligation about a category that is gone is not an obligation
   * less.
   */
  readonly categories: readonly Category[];
  /** Methods for which either states a budget. */
  readonly budgeted: ReadonlySet<string>;
}

/** Every name there is. */
export const ANY = 'any';

/** Everything that a policy says. */
export function* statements(policy: Policy, common: Common): Generator<Statement> {
  const { system, data, residency, access, evidence, succession } = policy;
  yield same('system.name', ['system', 'name'], 'the name of the system', system.name);
  yield same('system.owner', ['system', 'owner', 'name'], 'the owner', system.owner.name);
  yield same('system.owner.key', ['system', 'owner', 'key'], "the owner's key", system.owner.key);
  yield words(['system', 'owner', 'contact'], "the owner's contact", system.owner.contact);
  yield words(['system', 'description'], 'the description of the system', system.description);
  yield words(['system', 'version'], 'the version', system.version);
  yield words(['system', 'succeeds'], 'the policy before this one', system.succeeds);
  yield {
    order: 'list',
    aspect: 'data',
    path: ['data'],
    says: 'the vocabulary does',
    does: 'have',
    members: names(data),
  };
  for (const [category, { description, subjects }] of Object.entries(data)) {
    yield words(['data', category, 'description'], `the description of ${category}`, description);
    yield same('data.subjects', ['data', category, 'subjects'], `whom ${category} is about`, subjects);
  }
  yield* sayServices(policy);
  yield* sayCollections(policy);
  yield* sayStorage(policy);
  yield* saySubprocessors(policy);
  yield* sayReleases(policy);
  yield may(
    'residency.regions',
    ['residency', 'regions'],
    'data may',
    'be in',
    residency === 'none' ? ANY : new Set(residency.regions),
    anyAs('any region'),
  );
  const witness = residency === 'none' || residency.witness === 'none' ? undefined : residency.witness;
  yield* stated(
    'residency.witness',
    ['residency', 'witness'],
    'where the system runs is',
    'asserted by a witness',
    witness,
  );
  yield* sayAccess(policy);
  yield* stated('access.cedar', ['access', 'cedar'], 'calls are', 'authorised by Cedar', access.cedar || undefined);
  yield* sayGovernance(policy, common);
  yield* sayOverrides(policy);
  yield words(['controls'], 'the table of controls', policy.controls);
  yield* sayClaims(policy, common);
  yield* sayEvidence(evidence);
  const signers = succession === 'none' ? [] : succession.signers;
  yield may('succession.signers', ['succession', 'signers'], 'a successor may', 'be signed by', new Set(signers));
  if (succession !== 'none') {
    const { threshold, notice } = succession;
    yield least(
      'succession.threshold',
      ['succession', 'threshold'],
      'signatures that a successor needs: at least',
      threshold,
      `${threshold}`,
    );
    yield least(
      'succession.notice',
      ['succession', 'notice'],
      'notice that a successor needs: at least',
      secondsOf(notice),
      notice,
    );
  }
}

function* sayServices(policy: Policy): Generator<Statement> {
  const rules = methodsOf(policy);
  yield may('services', ['services'], 'the system may', 'answer', new Set(rules.map(([id]) => id)));
  for (const [id, rule] of rules) {
    const [service = '', method = ''] = id.split('/');
    const path = (key: keyof Rule): Path => ['services', service, method, key];
    yield same('services.purpose', path('purpose'), `the purpose of ${id}`, rule.purpose);
    yield may(
      'services.callers',
      path('callers'),
      `${id} may`,
      'be called by',
      rule.callers.includes(ANYONE) ? ANY : new Set(rule.callers),
      anyAs('anyone'),
    );
    yield may('services.accepts', path('accepts'), `${id} may`, 'accept', expand(rule.accepts, policy));
    yield may('services.reads', path('reads'), `${id} may`, 'read', new Set(rule.reads));
    yield may('services.stores', path('stores'), `${id} may`, 'store in', new Set(rule.stores));
    yield may('services.sends', path('sends'), `${id} may`, 'send to', new Set(rule.sends));
    yield may('services.returns', path('returns'), `${id} may`, 'return', expand(rule.returns, policy));
    yield same('services.interface', path('interface'), `the interface of ${id}`, rule.interface);
    const isAttested = isAttestedOnly(policy, id);
    const shown = isAttested ? 'on attested connections alone' : 'on any connection';
    yield most('access.attested', ['access', 'attested'], `${id} answers`, isAttested ? 0 : 1, shown);
  }
}

function* sayCollections(policy: Policy): Generator<Statement> {
  const { collections } = policy;
  const show = (id: string): string => `${id} (${collections[id]?.holds.join(', ')})`;
  yield may('collections', ['collections'], 'the system may', 'keep', names(collections), show);
  for (const [id, { holds, storage, retention, message, indexes }] of Object.entries(collections)) {
    yield may('collections.holds', ['collections', id, 'holds'], `${id} may`, 'hold', expand(holds, policy));
    const shown = storage === 'volatile' ? 'in memory' : 'on disk, encrypted';
    yield most(
      'collections.storage',
      ['collections', id, 'storage'],
      `${id} is kept`,
      storage === 'volatile' ? 0 : 1,
      shown,
    );
    yield most(
      'collections.retention',
      ['collections', id, 'retention'],
      `${id} is kept for at most`,
      lengthOf(retention),
      retention,
    );
    const kind = message === undefined ? 'any JSON' : 'messages of one type';
    yield most(
      'collections.message',
      ['collections', id, 'message'],
      `${id} takes`,
      message === undefined ? 1 : 0,
      kind,
    );
    if (message !== undefined)
      yield same('collections.message.type', ['collections', id, 'message'], `the message of ${id}`, message);
    // A method that may list and read finds the same without: an index says nothing more.
    yield {
      order: 'list',
      aspect: 'collections.indexes',
      path: ['collections', id, 'indexes'],
      says: `${id} is`,
      does: 'listed by',
      members: new Set(indexes),
    };
  }
}

/** How soon deletions from the disk are final; nothing of a policy that keeps nothing there. */
function* sayStorage({ collections, storage }: Policy): Generator<Statement> {
  yield* sayKeeping(storage ?? {});
  if (!Object.values(collections).some((each) => each.storage === 'sealed')) return;
  yield most(
    'storage.epoch',
    ['storage', 'epoch'],
    'deletions from the disk are final',
    lengthOf(storage?.epoch ?? 'unlimited'),
    storage === undefined ? 'at the next boot' : `within ${storage.epoch}`,
  );
}

/** Which other machines have keys of what is stored, and whose keys this one has. */
function* sayKeeping({
  keeper,
  keeps,
}: Pick<NonNullable<Policy['storage']>, 'keeper' | 'keeps'>): Generator<Statement> {
  const path = (...rest: Path): Path => ['storage', ...rest];
  const key = 'the keys of what is stored may';
  yield may('storage.keeper', path('keeper'), key, 'be kept by', new Set(keeper && ['another machine']));
  if (keeper !== undefined) {
    yield same('storage.keeper.address', path('keeper', 'address'), 'the address of the keeper', keeper.address);
    yield same('storage.keeper.policy', path('keeper', 'policy'), 'the policy of the keeper', keeper.policy);
    yield may('storage.keeper.images', path('keeper', 'images'), 'the keeper may', 'run', new Set(keeper.images));
    const at = path('keeper', 'references');
    yield same('storage.keeper.references', at, 'what the keeper is held against', digestOf(keeper.references));
  }
  const owners = path('keeps', 'owners');
  yield may('storage.keeps', owners, 'the system may', 'keep keys for machines of', new Set(keeps?.owners));
  if (keeps === undefined) return;
  const whom = 'machines whose keys are kept may';
  yield may('storage.keeps.images', path('keeps', 'images'), whom, 'run', new Set(keeps.images));
  const at = path('keeps', 'references');
  const what = 'what machines whose keys are kept are held against';
  yield same('storage.keeps.references', at, what, digestOf(keeps.references));
}

function digestOf(text: string): string {
  return `sha256:${bytesToHex(sha256(utf8ToBytes(text)))}`;
}

function* saySubprocessors(policy: Policy): Generator<Statement> {
  const { subprocessors } = policy;
  const show = (id: string): string =>
    `${id} (${subprocessors[id]?.address}): ${subprocessors[id]?.receives.join(', ')}`;
  yield may('subprocessors', ['subprocessors'], 'the system may', 'send to', names(subprocessors), show);
  for (const [id, subprocessor] of Object.entries(subprocessors)) {
    const { description, address, identity, region, calls, receives, assurance, credential } = subprocessor;
    const path = (...rest: Path): Path => ['subprocessors', id, ...rest];
    yield words(path('description'), `the description of ${id}`, description);
    yield same('subprocessors.address', path('address'), `the address of ${id}`, address);
    yield same(
      'subprocessors.identity',
      path('identity'),
      `how ${id} is known`,
      identity.spki ? 'by its key' : shortIdentity(identity),
    );
    if (identity.spki)
      yield may('subprocessors.spki', path('identity', 'spki'), `${id} may`, 'have the key', new Set(identity.spki));
    if (identity.attested) {
      const { references } = identity.attested;
      const digest = references === undefined ? 'nothing' : digestOf(references);
      const at = path('identity', 'attested', 'references');
      yield same('subprocessors.references', at, `what the evidence of ${id} is held against`, digest);
    }
    yield same('subprocessors.region', path('region'), `the region of ${id}`, region);
    yield may('subprocessors.calls', path('calls'), `${id} may`, 'be called by', new Set(calls));
    yield may('subprocessors.receives', path('receives'), `${id} may`, 'receive', expand(receives, policy));
    yield same('subprocessors.credential', path('credential'), `what is shown to ${id}`, credential ?? 'nothing');
    const until = assurance === 'none' ? Number.POSITIVE_INFINITY : endOf(assurance.validUntil);
    const shown = assurance === 'none' ? 'without an end' : assurance.validUntil;
    yield most(
      'subprocessors.assurance.validUntil',
      path('assurance', 'validUntil'),
      `${id} may be sent to until`,
      until,
      shown,
    );
    if (assurance !== 'none') {
      const { kind, document } = assurance;
      yield same('subprocessors.assurance', path('assurance'), `the assurance of ${id}`, `${kind} ${document}`);
    }
  }
}

/** References are as long as a file, and are compared by themselves. */
function shortIdentity({ attested, ...identity }: PeerIdentity): object {
  return attested === undefined ? identity : { attested: { policy: attested.policy, image: attested.image } };
}

function* sayReleases({ declassify }: Policy): Generator<Statement> {
  yield may('declassify', ['declassify'], 'the runtime may', 'release', new Set(declassify.map(({ id }) => id)));
  for (const [i, { id, owner, justification, ...release }] of declassify.entries()) {
    yield same('declassify.release', ['declassify', i], `the release ${id}`, release);
    yield words(['declassify', i, 'owner'], `the owner of the release ${id}`, owner);
    yield words(['declassify', i, 'justification'], `the justification of the release ${id}`, justification);
  }
}

function* sayAccess(policy: Policy): Generator<Statement> {
  const { identities } = policy.access;
  yield may('access.identities', ['access', 'identities'], 'the system may', 'authenticate', names(identities));
  for (const [id, { category, receives, oidc, mtls }] of Object.entries(identities)) {
    const path = (...rest: Path): Path => ['access', 'identities', id, ...rest];
    yield same('access.identities.category', path('category'), `the category of ${id}`, category);
    yield may('access.identities.receives', path('receives'), `${id} may`, 'receive', expand(receives, policy));
    const { keys = {}, ...issuer } = oidc ?? {};
    yield same('access.identities.source', path(), `how ${id} is known`, mtls ?? issuer);
    const pairs = Object.entries(keys).map(([kid, key]) => `${kid} ${key}`);
    yield may('access.identities.keys', path('oidc', 'keys'), `${id} may`, 'be signed by', new Set(pairs));
  }
}

function* sayGovernance(
  { governance: { sovereignty, leaks, resources } }: Policy,
  { budgeted }: Common,
): Generator<Statement> {
  const path = (...rest: Path): Path => ['governance', ...rest];
  const [score, calls] =
    sovereignty === 'none' ? [-Infinity, Infinity] : [sovereignty.minScore, sovereignty.maxExternalCalls];
  yield least(
    'governance.sovereignty.minScore',
    path('sovereignty', 'minScore'),
    'the sovereignty score is at least',
    score,
    shownLimit(score),
  );
  yield most(
    'governance.sovereignty.maxExternalCalls',
    path('sovereignty', 'maxExternalCalls'),
    'calls to others per request: at most',
    calls,
    shownLimit(calls),
  );
  const watched =
    leaks === 'none'
      ? []
      : leaks.detectors.flatMap((detector) => leaks.on.map((surface) => `${detector} on ${surface}`));
  yield must('governance.leaks', path('leaks'), 'text is', 'searched for', new Set(watched));
  const whole = resources === 'none' ? undefined : resources;
  const size = (text: string | undefined): number => (text === undefined ? Infinity : bytesOf(text));
  const time = (text: string | undefined): number => (text === undefined ? Infinity : millisecondsOf(text));
  for (const id of ['', ...budgeted]) {
    const budget = (id === '' ? undefined : own(whole?.methods, id)) ?? whole;
    const at = (key: string): Path => (id === '' ? path('resources', key) : path('resources', 'methods', id, key));
    const who = id || 'a request';
    yield most(
      'governance.resources.memory',
      at('memory'),
      `memory that ${who} may use: at most`,
      size(budget?.memory),
      budget?.memory ?? 'unlimited',
    );
    yield most(
      'governance.resources.cpu',
      at('cpu'),
      `processor time that ${who} may use: at most`,
      time(budget?.cpu),
      budget?.cpu ?? 'unlimited',
    );
    yield most(
      'governance.resources.wall',
      at('wall'),
      `time that ${who} may take: at most`,
      time(budget?.wall),
      budget?.wall ?? 'unlimited',
    );
  }
  const limits: readonly [string, string, number | undefined][] = [
    ['inFlight', 'requests at once: at most', whole?.inFlight],
    ['pressure.memory', 'memory pressure under which requests are admitted: at most', whole?.pressure.memory],
    ['pressure.cpu', 'processor pressure under which requests are admitted: at most', whole?.pressure.cpu],
    [
      'thermal',
      'temperature under which requests are admitted: at most',
      whole?.thermal === 'none' ? undefined : whole?.thermal,
    ],
  ];
  for (const [key, says, limit = Infinity] of limits) {
    yield most(`governance.resources.${key}`, path('resources', ...key.split('.')), says, limit, shownLimit(limit));
  }
}

function* sayOverrides({ overrides }: Policy): Generator<Statement> {
  const show = (id: string): string => {
    const found = overrides.find((override) => override.id === id);
    return `${found?.suspends} on ${found?.on} until ${found?.expires} (${id})`;
  };
  yield may('overrides', ['overrides'], 'an override may', 'suspend', new Set(overrides.map(({ id }) => id)), show);
  for (const [i, { id, suspends, on, expires, owner, ticket, justification }] of overrides.entries()) {
    yield same('overrides.suspends', ['overrides', i], `what ${id} suspends`, `${suspends} on ${on}`);
    yield most('overrides.expires', ['overrides', i, 'expires'], `${id} is in force until`, endOf(expires), expires);
    yield words(
      ['overrides', i, 'justification'],
      `the justification of ${id}`,
      [owner, ticket, justification].join(', '),
    );
  }
}

function* sayClaims({ claims }: Policy, { categories }: Common): Generator<Statement> {
  const kinds = new Set(claims.map(({ kind }) => kind));
  yield must('claims', ['claims'], 'the system', 'claims', kinds);
  for (const kind of kinds) {
    const made = claims.filter((claim) => claim.kind === kind);
    const scope = made.some(({ data }) => data === 'all')
      ? ANY
      : new Set(
          categories.filter((category) =>
            covers(
              made.flatMap(({ data }) => (data === 'all' ? [] : data)),
              [category],
            ),
          ),
        );
    yield must('claims.data', ['claims'], `the claim ${kind} is`, 'about', scope, anyAs('all data'));
    yield must(
      'claims.controls',
      ['claims'],
      `the claim ${kind} does`,
      'answer',
      new Set(made.flatMap(({ controls }) => controls)),
    );
  }
  for (const [i, { id, statement }] of claims.entries()) {
    yield same('claims.statement', ['claims', i, 'statement'], `the statement of the claim ${id}`, statement);
  }
}

function* sayEvidence({
  durability,
  events = [],
  retention,
  review,
  witnesses,
  unwitnessed,
  mirror,
  pipeline,
  readers = [],
  quoted = QUOTED_BY_DEFAULT,
}: Policy['evidence']): Generator<Statement> {
  const path = (key: string): Path => ['evidence', key];
  yield most(
    'evidence.durability',
    path('durability'),
    'a record is on stable storage',
    durability === 'batched' ? 1 : 0,
    durability === 'batched' ? 'after the response' : 'before the response',
  );
  const within = quotedWithin({ quoted });
  yield most(
    'evidence.quoted',
    path('quoted'),
    'a record is under a quote of the hardware',
    within === 0 ? Number.POSITIVE_INFINITY : within,
    within === 0 ? 'once a proof is asked for' : `within ${quoted}`,
  );
  yield least('evidence.retention', path('retention'), 'the log is kept for at least', lengthOf(retention), retention);
  const every = review === 'none' ? 'unlimited' : review.every;
  yield most('evidence.review', path('review'), 'time between reviews of the log: at most', lengthOf(every), every);
  if (review !== 'none')
    yield may('evidence.review.by', path('review'), 'the log may', 'be reviewed by', new Set(review.by));
  yield may('evidence.events', path('events'), 'handlers may', 'put on record', new Set(events));
  yield* sayWitnesses(witnesses, path('witnesses'));
  yield most(
    'evidence.unwitnessed',
    path('unwitnessed'),
    'records served beyond the last cosigned checkpoint: at most',
    unwitnessed ?? Number.POSITIVE_INFINITY,
    `${unwitnessed ?? 'any number'}`,
  );
  yield may(
    'evidence.mirror',
    path('mirror'),
    'the log may',
    'forget what is held by the mirror',
    new Set(mirror === undefined ? [] : [mirror]),
    keyName,
  );
  yield may('evidence.pipeline', path('pipeline'), 'records may', 'be taken in from', new Set(pipeline));
  yield may('evidence.readers', path('readers'), 'entries of the log may', 'be read by', new Set(readers));
}

/** Demands of the quorum: sets of witnesses, of each of which one has to cosign. */
function* sayWitnesses(lines: readonly string[], path: Path): Generator<Statement> {
  const clauses = quorumClauses(lines);
  yield {
    order: 'must',
    aspect: 'evidence.witnesses',
    path,
    says: 'checkpoints are',
    does: 'cosigned by',
    members: new Set((clauses ?? []).map((keys) => keys.join(OR))),
    show: (clause) => clause.split(OR).map(keyName).join(OR),
    // A cosignature of one of few is one of those few and more.
    entails: (clause, other) => clause.split(OR).every((key) => other.split(OR).includes(key)),
  };
  yield same(
    'evidence.quorum',
    path,
    'the quorum of witnesses',
    clauses === undefined ? lines : 'as told by its parts',
  );
}

const OR = ' or ';

/** A verifier key's name and id. */
function keyName(vkey: string): string {
  return vkey.split('+', 2).join('+');
}

function may(
  aspect: string,
  path: Path,
  says: string,
  does: string,
  members: Members,
  show: (name: string) => string = String,
): Statement {
  return { order: 'may', aspect, path, says, does, members, show };
}

function must(
  aspect: string,
  path: Path,
  says: string,
  does: string,
  members: Members,
  show: (name: string) => string = String,
): Statement {
  return { order: 'must', aspect, path, says, does, members, show };
}

function most(aspect: string, path: Path, says: string, limit: number, shown: string): Statement {
  return { order: 'most', aspect, path, says, limit, shown };
}

function least(aspect: string, path: Path, says: string, limit: number, shown: string): Statement {
  return { order: 'least', aspect, path, says, limit, shown };
}

function same(aspect: string, path: Path, says: string, value: unknown): Statement {
  return { order: 'same', aspect, path, says, value };
}

function words(path: Path, says: string, value: unknown): Statement {
  return { order: 'words', aspect: 'words', path, says, value };
}

/**
 * Statements about a thing that a policy has or leaves out: its presence is an obligation, and its
 * content has no order.
 */
function* stated(aspect: string, path: Path, says: string, does: string, value: unknown): Generator<Statement> {
  yield must(aspect, path, says, does, new Set(value === undefined ? [] : ['']));
  if (value !== undefined) yield same(aspect, path, `how ${says} ${does}`, value);
}

function anyAs(words: string): (name: string) => string {
  return (name) => (name === ANY ? words : name);
}

/**
 * All categories of the policy's vocabulary that a list covers. So what is permitted grows with the
 * vocabulary, too.
 */
function expand(permitted: readonly Category[], { data }: Policy): ReadonlySet<Category> {
  return new Set(Object.keys(data).filter((category) => covers(permitted, [category])));
}

function names(record: Named<unknown>): ReadonlySet<string> {
  return new Set(Object.keys(record));
}

function own<T>(record: Named<T> | undefined, name: string): T | undefined {
  return record && Object.hasOwn(record, name) ? record[name] : undefined;
}

function lengthOf(duration: Duration | 'unlimited'): number {
  return duration === 'unlimited' ? Number.POSITIVE_INFINITY : secondsOf(duration);
}

function shownLimit(limit: number): string {
  return Number.isFinite(limit) ? String(limit) : 'no limit';
}
