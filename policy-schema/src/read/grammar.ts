/**
 * The grammar: one description from which come the parser's checks, its defaults and the JSON
 * Schema for editors. Checks that take more than one place of the document are in `coherence.ts`.
 */

import * as z from 'zod';
import { PUBLIC } from '../category.ts';
import { CLAIM_KINDS } from '../claim.ts';
import {
  type CertificateCredential,
  type Credential,
  type HeaderCredential,
  LEAK_DETECTORS,
  LEAK_SURFACES,
  type Policy,
} from '../policy.ts';
import { DAY, DURATION, isDay, SIZE, secondsOf, TIME } from '../quantity.ts';

// No code from strings: not in a browser under CSP, not in the VM, whose Node forbids it.
z.config({ jitless: true });

const MAX_ENTRIES = 4096;
/** Keys that may read the log: people and collectors, not callers. */
const MAX_READERS = 64;
/** Signers of successions: as many signatures as one has room for. */
const MAX_SIGNERS = 32;
/** The more there are, the more one event tells. */
const MAX_EVENTS = 256;

/** Each takes 16 bytes of every record's row, of which a row has no more than these. */
const MAX_INDEXES = 8;

/** Base images, or owners, of machines that keep keys or have them kept. */
const MAX_KEPT = 16;

/** Lines of witnesses, their groups and the quorum. */
const MAX_WITNESS_LINES = 129;
/** An ML-DSA-44 key takes 1752, beside names and an address. */
const MAX_WITNESS_LINE_CHARS = 4096;

const PROTO_NAME = '[A-Za-z_][A-Za-z0-9_]{0,254}';
const FULL_NAME = `(?:${PROTO_NAME}\\.){0,31}${PROTO_NAME}`;
const SEGMENT = '[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*';
// The last label starts with a letter, so no address literal passes; the broker resolves and checks
// names.
const HOST = '(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?';
const PORT = '[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]';
// Control characters and bidirectional overrides can make a sentence read as another.
const VISIBLE = '[^\\p{Cc}\\p{Cs}\\u202a-\\u202e\\u2066-\\u2069]';

/** As C2SP signed-note publishes it. */
const VERIFIER_KEY = '[^\\s+]+\\+[0-9a-f]{8}\\+[A-Za-z0-9+/]+=*';

/** Text of one form. `what` completes "expected …". */
function form(shape: RegExp | string, what: string, max = 256): z.ZodString {
  const pattern = typeof shape === 'string' ? new RegExp(`^(?:${shape})$`, 'u') : shape;
  return z
    .string()
    .max(max, { error: `expected at most ${max} characters`, abort: true })
    .regex(pattern, { error: `expected ${what}`, abort: true });
}

/** Text of two parts of which the first is fixed. */
function tagged<const T extends string>(tag: T, shape: RegExp, what: string): z.ZodTemplateLiteral<`${T}${string}`> {
  return z.templateLiteral([tag, z.string().regex(shape)], { error: `expected ${what}` });
}

function set<T extends z.ZodType>(member: T): z.ZodDefault<z.ZodArray<T>> {
  return z.array(member).max(MAX_ENTRIES).default([]);
}

function named<T extends z.ZodType>(key: z.ZodString, value: T): z.ZodDefault<z.ZodRecord<z.ZodString, T>> {
  return z.record(key, value).default({});
}

// Names become properties of objects in handlers and entity types in Cedar.
const name = form(
  /^[a-z][a-zA-Z0-9_]{0,62}$/,
  'a name such as "cases": a lower-case letter, then letters, digits and _',
).refine((text) => !(text in Object.prototype), {
  error: 'expected a name that JavaScript objects do not have already',
});
const id = form('[A-Za-z][A-Za-z0-9-]{0,62}', 'an id: a letter, then letters, digits and -');
const word = form('[a-z][a-z0-9]*(?:-[a-z0-9]+)*', 'lower-case words joined by -', 64);
const text = form(`${VISIBLE}+`, 'one line of text without control characters', 2000);
const note = form(`${VISIBLE}*`, 'one line of text without control characters', 2000).default('');
const category = form(`${SEGMENT}(?:\\.${SEGMENT})*`, 'a data category such as "personal.health"', 128);
const newCategory = category.refine((text) => text !== PUBLIC, { error: '"public" is built in and is not declared' });
const protoName = form(PROTO_NAME, 'the name of a method').refine((text) => !(text in Object.prototype), {
  error: 'expected a name that JavaScript objects do not have already',
});
const fullName = form(FULL_NAME, 'the full name of a service, such as "clinic.v1.Intake"', 512);
const method = z.templateLiteral(
  [z.string().regex(new RegExp(`^${FULL_NAME}$`)), '/', z.string().regex(new RegExp(`^${PROTO_NAME}$`))],
  {
    error: 'expected a method such as "clinic.v1.Intake/Submit"',
  },
);
const duration = form(DURATION, 'an ISO 8601 duration such as "P30D"', 64);
const day = form(DAY, 'a day such as "2027-03-31"').refine(isDay, { error: 'expected a day that exists' });
const size = form(SIZE, 'a size such as "256MiB"');
const time = form(TIME, 'a time such as "500ms", "5s" or "2min"');
const percent = z.int().min(0).max(100);
const none = z.literal('none');
const sha384 = tagged('sha384:', /^[0-9a-f]{96}$/, '"sha384:" and 96 lower-case hex digits');
const sha256 = tagged('sha256:', /^[0-9a-f]{64}$/, '"sha256:" and 64 lower-case hex digits');
const ed25519 = tagged('ed25519:', /^[A-Za-z0-9_-]{43}$/, '"ed25519:" and 32 bytes in base64url');
const address = form(
  `https://${HOST}(?::(?:${PORT}))?`,
  'an origin such as "https://mail.example.eu": a host name, no path, no IP address',
);

const outboundCall = form(
  `${FULL_NAME}/${PROTO_NAME}|(?:POST|PUT) /[A-Za-z0-9/._~-]*`,
  '"pkg.Service/Method" or "POST /path"',
  768,
);

const categories = set(category).describe('Data categories; each covers those below it. Empty: none.');

const system = z.strictObject({
  name: word.describe('Name of the system.'),
  description: note.describe('What the system is for.'),
  owner: z.strictObject({
    name: text.describe('Who answers for the system.'),
    contact: text.describe('How to reach them.'),
    key: z.union([none, ed25519]).default('none').describe('Key that signs deployments and brings secrets.'),
  }),
  version: z.int().min(1).describe('Only ever grows.'),
  succeeds: z.union([none, sha384]).default('none').describe('Digest of the policy before this one.'),
});

const dataCategory = z.strictObject({
  description: text,
  subjects: set(word).describe('Kinds of people that the data is about; any makes the category personal.'),
});

const rule = z.strictObject({
  purpose: word.describe('Why the method handles data; the .proto has to say the same.'),
  callers: z.array(name).max(MAX_ENTRIES).describe('Identities that may call, or "anyone". Empty: nobody.'),
  accepts: categories.describe('What requests may carry.'),
  reads: set(name).describe('Collections that may be read.'),
  stores: set(name).describe('Collections that may be written to and deleted from.'),
  sends: set(name).describe('Subprocessors that may be sent to.'),
  returns: categories.describe('What responses may carry.'),
  interface: z
    .union([z.literal('any'), sha256])
    .default('any')
    .describe('Digest of the messages and their categories. "any": requests are labelled with all that is accepted.'),
});

const collection = z.strictObject({
  holds: categories.describe('What records may carry.'),
  storage: z
    .enum(['sealed', 'volatile'])
    .default('sealed')
    .describe('On the state disk, encrypted; or in memory only.'),
  retention: z
    .union([z.literal('unlimited'), duration])
    .describe('After this a record is unreadable and its key destroyed.'),
  message: form(FULL_NAME, 'the full name of a message, such as "clinic.v1.Case"', 512)
    .exactOptional()
    .describe('Message that every record is, as proto3 JSON. Left out: any JSON.'),
  indexes: z
    .array(form(PROTO_NAME, 'the name of a field'))
    .min(1)
    .max(MAX_INDEXES)
    .exactOptional()
    .describe('Fields of the message whose values records are listed by. Left out: none.'),
});

const evidenceReferences = form('[\\x20-\\x7e\\n]+', 'what `enclaim references` writes', 65_536);
const images = z.array(sha256).min(1).max(MAX_KEPT).describe('Base images that run there: SHA-256 of their UKI.');
const machineReferences = evidenceReferences.describe(
  'What their evidence is held against, as JSON text: references without policy, bundles and owner.',
);

const storage = z.strictObject({
  epoch: duration
    .refine(isEpoch, { error: 'expected PT1M to P1D' })
    .describe('While the system runs, deletions are final after this, also on older copies of the disk: PT1M to P1D.'),
  keeper: z
    .strictObject({
      address: address.describe('Where it is, and nowhere else.'),
      policy: z.union([z.literal('same'), sha384]).describe('Policy that it runs under; "same": this one.'),
      images,
      references: machineReferences,
    })
    .exactOptional()
    .describe('Attested machine that keeps the keys where a machine has no TPM.'),
  keeps: z
    .strictObject({
      owners: z.array(ed25519).min(1).max(MAX_KEPT).describe('Owners that the policies of those machines name.'),
      images,
      references: machineReferences,
    })
    .exactOptional()
    .describe('Machines whose keys this one keeps, where it has a TPM.'),
});

/** Seconds of an epoch: each wears the memory of a TPM, and one that lasts longer makes no end. */
const EPOCH = { least: 60, most: 86_400 };

function isEpoch(every: string): boolean {
  return !DURATION.test(every) || (secondsOf(every) >= EPOCH.least && secondsOf(every) <= EPOCH.most);
}

const peerIdentity = z
  .strictObject({
    spki: z.array(form('sha256/[A-Za-z0-9+/]{43}=', '"sha256/" and a SHA-256 in base64')).min(1).exactOptional(),
    ca: z.union([z.literal('system'), sha256]).exactOptional(),
    attested: z
      .strictObject({
        policy: sha384,
        image: z.union([z.literal('any'), sha256]),
        references: evidenceReferences.describe('What its evidence is held against, as JSON text.').exactOptional(),
      })
      .exactOptional(),
  })
  .refine((keys) => Object.keys(keys).length === 1, { error: 'expected exactly one of spki, ca and attested' })
  .describe('How the runtime knows the other side.');

/** Headers that HTTP, gRPC or the runtime write: a secret there would change what a message is. */
const OWNED_HEADER =
  /^(?:host|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|cookie|user-agent|http2-settings|(?:accept|content|proxy|grpc|enclaim)(?:-.*)?|.*-bin)$/;
const HEADER = '[a-z0-9]+(?:[_-][a-z0-9]+)*';

const credential = z
  .strictObject({
    header: form(HEADER, 'a header in small letters, such as "authorization"', 64)
      .refine((header) => !OWNED_HEADER.test(header), { error: 'expected a header that the protocols leave free' })
      .exactOptional()
      .describe('Header that the secret stands in.'),
    scheme: form("[A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]*", 'one word, such as "Bearer"', 64)
      .exactOptional()
      .describe('What stands before the secret and a space. Left out: nothing.'),
    secret: word.exactOptional().describe('Name of the secret; `enclaim secret put` brings its value.'),
    certificate: word
      .exactOptional()
      .describe('In place of a header: name of a client certificate with its key, for the TLS handshake.'),
  })
  .refine(isCredential, { error: 'expected header and secret, or certificate alone' })
  .describe('What the runtime shows it, with each message or in the handshake, and no handler sees.');

function isCredential({
  header,
  scheme,
  secret,
  certificate,
}: Partial<HeaderCredential & CertificateCredential>): boolean {
  return certificate === undefined
    ? header !== undefined && secret !== undefined
    : header === undefined && scheme === undefined && secret === undefined;
}

const subprocessor = z.strictObject({
  description: note,
  address: address.describe('Where it is, and nowhere else.'),
  identity: peerIdentity,
  region: word.describe('Where it keeps data.'),
  calls: set(outboundCall).describe('What handlers may call there: pkg.Service/Method, or POST /path. Empty: nothing.'),
  receives: categories.describe('What it may be sent.'),
  assurance: z
    .union([none, z.strictObject({ kind: word, document: sha256, validUntil: day })])
    .default('none')
    .describe('A document in which a third party vouches for it; nothing is sent after validUntil.'),
  // The refinement says which members are there.
  credential: (credential as z.ZodType<Credential>).exactOptional(),
});

const declassification = z.strictObject({
  id: name,
  method,
  to: name.describe('The subprocessor that gets the message.'),
  call: outboundCall,
  build: z
    .record(form(PROTO_NAME, 'the name of a field'), text)
    .describe('Fields of the message: $request.path, $record.collection.path or fixed text.'),
  owner: text,
  justification: text,
});

const residency = z.strictObject({
  regions: z.array(word).min(1),
  witness: z
    .union([
      none,
      z.strictObject({
        name: text,
        kind: z.enum(['aws-instance-identity', 'azure-attested-document', 'gcp-instance-identity', 'statement']),
        key: z.union([ed25519, sha256]),
      }),
    ])
    .default('none')
    .describe('Who asserts where the VM runs.'),
});

const identity = z
  .strictObject({
    category: category.describe("What a caller's identity says: part of the label of each of their requests."),
    receives: categories.describe('What these callers may be sent.'),
    oidc: z
      .strictObject({
        issuer: form('https://[\\x21-\\x7e]+', 'an https URL', 512),
        audience: text,
        keys: z
          .record(
            form('[\\x21-\\x7e]+', 'a key id', 128),
            form(
              '(?:ES256|ES384|RS256|PS256|EdDSA):[A-Za-z0-9_-]+',
              'an algorithm, ":" and a key (SPKI, base64url)',
              2048,
            ),
          )
          .describe('Key id → algorithm:SubjectPublicKeyInfo. Keys from anywhere else are not used.'),
        groups: form('[A-Za-z0-9_:/.-]+', 'the name of a token claim').default('groups'),
      })
      .exactOptional(),
    mtls: z.strictObject({ ca: sha256 }).exactOptional(),
  })
  .refine((keys) => 'oidc' in keys !== 'mtls' in keys, { error: 'expected exactly one of oidc and mtls' });

const access = z.strictObject({
  identities: named(name, identity).describe('Ways to know a caller.'),
  attested: z
    .union([z.literal('all'), z.literal('personal'), z.array(method).min(1).max(MAX_ENTRIES)])
    .exactOptional()
    .describe(
      'Methods that answer only callers who were given evidence: "all", "personal" (by which personal data comes or leaves), or a list.',
    ),
  cedar: form(new RegExp(`^(?:${VISIBLE}|[\\n\\t])*$`, 'u'), 'Cedar text without control characters', 65_536).default(
    '',
  ),
});

const budget = { memory: size, cpu: time, wall: time };

const governance = z.strictObject({
  sovereignty: z
    .union([none, z.strictObject({ minScore: percent, maxExternalCalls: z.int().min(0).max(1000) })])
    .default('none'),
  leaks: z
    .union([
      none,
      z.strictObject({ detectors: z.array(z.enum(LEAK_DETECTORS)).min(1), on: z.array(z.enum(LEAK_SURFACES)).min(1) }),
    ])
    .default('none'),
  resources: z
    .union([
      none,
      z.strictObject({
        ...budget,
        inFlight: z.int().min(1).max(100_000),
        pressure: z.strictObject({ memory: percent, cpu: percent }),
        thermal: z.union([none, z.int().min(1).max(150)]).default('none'),
        methods: z.record(method, z.strictObject(budget)).default({}),
      }),
    ])
    .default('none'),
});

const override = z.strictObject({
  id,
  suspends: form('[a-z]+\\.[A-Za-z0-9_-]+', 'what is suspended, such as "leaks.email"').describe(
    'leaks.<detector>, sovereignty.minScore, sovereignty.maxExternalCalls, resources.<limit> or assurance.<subprocessor>',
  ),
  on: method,
  owner: text,
  ticket: text,
  justification: text,
  expires: day.describe('The last day it is in force.'),
});

const control = form('[a-z][a-z0-9-]*/[a-z0-9]+(?:[.-][a-z0-9]+)*', 'a control such as "soc2/cc6.1"', 128);

const claim = z.strictObject({
  id,
  kind: z
    .enum([
      'access-logged',
      'audited-system',
      'authorised-access',
      'bounded-resources',
      'deleted-after-retention',
      'encryption-at-rest',
      'local-first',
      'no-leakage',
      'no-undisclosed-recipients',
      'residency',
      'subprocessors-assured',
    ])
    .describe(
      Object.entries(CLAIM_KINDS)
        .map(([kind, { means }]) => `${kind}: ${means}.`)
        .join(' '),
    ),
  statement: text.describe('The sentence for people.'),
  data: z
    .union([z.literal('all'), z.array(category).min(1)])
    .default('all')
    .describe('What data the claim is about.'),
  controls: set(control).describe('Controls that it answers, as framework/control.'),
});

// 100 ms to an hour: no hardware quotes more often, and a promise beyond that is none.
const quoted = form(
  '0s|[1-9][0-9]{2,5}ms|[1-9][0-9]{0,2}s|(?:[1-9]|[1-5][0-9]|60)min',
  '"0s", or a time of 100ms to 60min',
);

const evidence = z.strictObject({
  events: z
    .array(word)
    .min(1)
    .max(MAX_EVENTS)
    .exactOptional()
    .describe('Events that handlers may put on record by ctx.log. Left out: none.'),
  durability: z.enum(['before-response', 'batched']).default('before-response'),
  retention: z
    .union([z.literal('unlimited'), duration])
    .default('unlimited')
    .describe('How long the log is kept.'),
  review: z
    .union([none, z.strictObject({ every: duration, by: z.array(ed25519).min(1) })])
    .default('none')
    .describe('Who reviews the log, and how often.'),
  quoted: quoted
    .exactOptional()
    .describe('Time within which a record is under a quote of the hardware; "0s": once a proof is asked for.'),
  witnesses: z
    .array(
      form(
        `(?:(?:witness|group|quorum) ${VISIBLE}+|${VERIFIER_KEY})`,
        'a line of C2SP tlog-policy: witness NAME KEY URL, group NAME all|any|K MEMBERS, or quorum NAME',
        MAX_WITNESS_LINE_CHARS,
      ),
    )
    .max(MAX_WITNESS_LINES)
    .default([])
    .describe('Who cosigns checkpoints: lines of C2SP tlog-policy, or verifier keys that must all cosign.'),
  unwitnessed: z
    .int()
    .min(1)
    .exactOptional()
    .describe('Records served beyond the last cosigned checkpoint; then calls are refused. Left out: any number.'),
  mirror: form(VERIFIER_KEY, 'a C2SP verifier key', MAX_WITNESS_LINE_CHARS)
    .exactOptional()
    .describe('Whose cosignature lets the log forget records, because it holds them. Left out: nothing is forgotten.'),
  pipeline: set(ed25519).describe('Keys whose records of pre-commit and CI are taken in.'),
  readers: z
    .array(ed25519)
    .min(1)
    .max(MAX_READERS)
    .exactOptional()
    .describe('Keys that may read entries of the log. Left out: nobody; hashes and checkpoints are for anyone.'),
});

const succession = z.strictObject({
  signers: z.array(ed25519).min(1).max(MAX_SIGNERS),
  threshold: z.int().min(1),
  notice: duration.describe('How long a successor has to stand in the log first.'),
});

/**
 * The document. Its output is a {@link Policy}, in the order of the source and not yet coherent.
 */
export const policyGrammar: z.ZodType<Policy> = z.strictObject({
  enclaim: z.literal(1).describe('Version of the grammar.'),
  system,
  data: named(newCategory, dataCategory).describe('The vocabulary of labels; dots make a hierarchy.'),
  services: named(fullName, z.record(protoName, rule)).describe('What each method may do. No rule: not exposed.'),
  collections: named(name, collection).describe('Sets of records; always encrypted.'),
  storage: storage.exactOptional().describe('How sealed collections are kept.'),
  subprocessors: named(name, subprocessor).describe('Everybody outside who may be sent anything.'),
  declassify: set(declassification).describe('Messages that the runtime itself builds and sends.'),
  residency: z.union([none, residency]).default('none'),
  access: access.prefault({}),
  governance: governance.prefault({}),
  overrides: set(override).describe('Dated, owned holes in the limit.'),
  controls: named(control, text).describe('Titles of controls that are not built in.'),
  claims: set(claim),
  evidence: evidence.prefault({}),
  succession: z.union([none, succession]).default('none'),
});
