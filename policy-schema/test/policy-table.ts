/**
 * Policies and what is said of each: the base policy with one thing changed, or a document of its own.
 * A row is [id, change, issues]; no issues: it is a policy. An issue is its code, then
 * the line that people see.
 */

import { hex, key } from './base-policy.ts';

/** What is done to the base policy: text replaced by other text, or another document altogether. */
export type Edit = readonly [from: string, to: string] | { readonly document: string | Uint8Array };

/** One row. */
export type Row = readonly [id: string, edit: Edit | readonly Edit[], issues?: readonly string[]];

const MINIMAL = `enclaim: 1
system: { name: a, owner: { name: A, contact: a }, version: 1 }
`;

const minimal = (more: string): Edit => ({ document: MINIMAL + more });

const OWNED: Edit = ['contact: a@clinic.example', `contact: a@clinic.example, key: "${key('D')}"`];
const credential = (parts: string): Edit => [
  'receives: [personal.email]\n',
  `receives: [personal.email]\n    credential: { ${parts} }\n`,
];

/** Machines as their evidence has to show them. */
const MACHINES = `images: ["sha256:${'0'.repeat(64)}"], references: "{}"`;

/** Headers that no secret may stand in: they are the protocols'. */
const TAKEN_HEADERS = [
  ...['host', 'connection', 'transfer-encoding', 'te', 'upgrade', 'cookie', 'user-agent', 'proxy-authorization'],
  ...['content-type', 'content-length', 'accept', 'accept-encoding', 'grpc-timeout', 'token-bin', 'enclaim-nonce'],
];

/** Policies. */
export const VALID: readonly Row[] = [
  ['base', ['', '']],
  ['minimal', minimal('')],
  ['json', { document: '{"enclaim":1,"system":{"name":"a","owner":{"name":"A","contact":"a"},"version":1}}' }],
  [
    'json with tabs',
    {
      document:
        '{\n\t"enclaim": 1,\n\t"system": {\n\t\t"name": "a",\n\t\t"owner": { "name": "A", "contact": "a" },\n\t\t"version": 1\n\t}\n}\n',
    },
  ],
  ['byte order mark', { document: `\ufeff${MINIMAL}` }],
  ['carriage returns', { document: MINIMAL.replaceAll('\n', '\r\n') }],
  ['document markers', { document: `---\n${MINIMAL}...\n` }],
  ['comments', { document: `# one\n${MINIMAL}# two\n` }],
  ['quoted keys', { document: MINIMAL.replace('enclaim', '"enclaim"').replace('system', "'system'") }],
  [
    'a key that looks like a number',
    minimal(
      'access: { identities: { a: { category: public, oidc: { issuer: "https://a.example", audience: a, keys: { "2026": "ES256:AAAA" } } } } }',
    ),
  ],
  [
    'empty sections',
    minimal(
      'data: {}\nservices: {}\ncollections: {}\nsubprocessors: {}\ndeclassify: []\noverrides: []\nclaims: []\ncontrols: {}\naccess: {}\ngovernance: {}\nevidence: {}\n',
    ),
  ],
  [
    'none written out',
    minimal(
      'residency: none\nsuccession: none\ngovernance: { sovereignty: none, leaks: none, resources: none }\nevidence: { review: none }\n',
    ),
  ],
  [
    'records of one message, and its indexes',
    ['retention: P30D }', 'retention: P30D, message: c.v1.Case, indexes: [patient_id, status] }'],
  ],
  ['quotes on demand', ['  review:', '  quoted: 0s\n  review:']],
  ['epochs of a minute', ['epoch: PT10M', 'epoch: PT1M']],
  ['epochs of a day', ['epoch: PT10M', 'epoch: P1D']],
  ['quotes within a time', ['  review:', '  quoted: 100ms\n  review:']],
  ['a credential', [OWNED, credential('header: authorization, scheme: Bearer, secret: mailer-token')]],
  ['a client certificate', [OWNED, credential('certificate: mailer-certificate')]],
  ['a credential without a scheme', [OWNED, credential('header: x-api_key, secret: a')]],
  ['owner key', ['contact: a@clinic.example', `contact: a@clinic.example, key: "${key('D')}"`]],
  ['description', ['  version: 3', '  description: "für Patienten"\n  version: 3']],
  ['a parent covers its children', ['accepts: [operational]', 'accepts: [operational, personal]']],
  ['public needs no declaration', ['accepts: [operational]', 'accepts: [operational, public]']],
  [
    'a category with underscore and hyphen',
    ['  operational:', '  staff_data.id-card: { description: x }\n  operational:'],
  ],
  [
    'a method open to anyone, unclaimed',
    [
      ['callers: [staff], accepts: [personal]', 'callers: [anyone], accepts: [personal]'],
      ['  - { id: who, kind: authorised-access, statement: Authorised. }\n', ''],
    ],
  ],
  ['a method for nobody', ['callers: [staff], accepts: [operational]', 'callers: [], accepts: [operational]']],
  ['interface pinned', ['returns: [personal.health]', `returns: [personal.health], interface: "sha256:${hex('e')}"`]],
  [
    'sealed written out',
    ['holds: [personal.health], retention', 'holds: [personal.health], storage: sealed, retention'],
  ],
  ['retention of hours', ['retention: P30D', 'retention: PT12H']],
  ['retention of mixed units', ['retention: P30D', 'retention: P1Y2M3W4DT5H6M7S']],
  [
    'spki pin',
    ['identity: { ca: system }', 'identity: { spki: ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] }'],
  ],
  ['private ca', ['identity: { ca: system }', `identity: { ca: "sha256:${hex('f')}" }`]],
  [
    'attested peer',
    ['identity: { ca: system }', `identity: { attested: { policy: "sha384:${hex('f', 96)}", image: any } }`],
  ],
  [
    'attested peer with references over lines',
    [
      'identity: { ca: system }',
      `identity:\n      attested:\n        policy: "sha384:${hex('f', 96)}"\n        image: any\n        references: |\n          {\n            "enclaim": "references/1"\n          }`,
    ],
  ],
  [
    'attested instead of assured',
    [
      [
        'identity: { ca: system }',
        `identity: { attested: { policy: "sha384:${hex('f', 96)}", image: "sha256:${hex('1')}" } }`,
      ],
      [
        /* assurance */ `    assurance: { kind: soc2-type2, document: "sha256:${hex('b')}", validUntil: "2027-03-31" }\n`,
        '',
      ],
    ],
  ],
  ['address with port', ['mail.example.eu', 'mail.example.eu:8443']],
  ['release to a gRPC method', ['call: POST /send', 'call: mail.v1.Mailer/Send']],
  ['release of fixed text', ['$request.email', 'case received']],
  ['release from a record', ['$request.email', '$record.cases.email']],
  [
    'no witness, unclaimed',
    [
      [/* witness */ `  witness: { name: GCE, kind: gcp-instance-identity, key: "sha256:${hex('c')}" }\n`, ''],
      ['  - { id: here, kind: residency, statement: Here. }\n', ''],
    ],
  ],
  [
    'oidc identity',
    [
      `mtls: { ca: "sha256:${hex('d')}" }`,
      'oidc: { issuer: "https://id.example/realm", audience: c, keys: { k1: "EdDSA:AAAA" }, groups: roles }',
    ],
  ],
  ['thermal limit', ['pressure: { memory: 20, cpu: 60 }', 'pressure: { memory: 20, cpu: 60 }, thermal: 90']],
  [
    'budget of a method',
    [
      'pressure: { memory: 20, cpu: 60 }',
      'pressure: { memory: 20, cpu: 60 }, methods: { c.v1.Intake/Read: { memory: 64MiB, cpu: 50ms, wall: 1s } }',
    ],
  ],
  ['override of sovereignty', ['suspends: leaks.email', 'suspends: sovereignty.minScore']],
  ['override of a budget', ['suspends: leaks.email', 'suspends: resources.wall']],
  ['override of an assurance', ['suspends: leaks.email', 'suspends: assurance.mailer']],
  ['claim about some data', ['statement: Encrypted.', 'statement: Encrypted., data: [personal]']],
  [
    'words in quotes that are not text without',
    [
      ['description: ids', 'description: "no"'],
      ['on: c.v1', '"on": c.v1'],
      ['description: notes', "description: '12:30'"],
    ],
  ],
  ['local without any call', ['minScore: 80, maxExternalCalls: 1', 'minScore: 0, maxExternalCalls: 0']],
  [
    'Cedar text that permits all but what it forbids',
    [
      'permit(principal is staff, action, resource);',
      'permit(principal, action, resource); forbid(principal, action, resource) unless { context.purpose == "care" };',
    ],
  ],
  [
    'two claims of a kind',
    [
      '  - { id: share,',
      '  - { id: rest2, kind: encryption-at-rest, statement: Too., data: [personal.health] }\n  - { id: share,',
    ],
  ],
  [
    'a control of the policy',
    [
      ['controls: [soc2/cc6.1]', 'controls: [acme/1.2]'],
      ['evidence:', 'controls: { acme/1.2: House rule 1.2 }\nevidence:'],
    ],
  ],
  ['unlimited log', ['  review:', '  retention: unlimited\n  review:']],
  [
    'batched log, unclaimed',
    [
      ['  review:', '  durability: batched\n  review:'],
      ['  - { id: log, kind: access-logged, statement: Logged. }\n', ''],
    ],
  ],
  ['witnessed log', ['  review:', '  witnesses: ["example.com/w+0123abcd+AAAA"]\n  review:']],
  ['events', ['  review:', '  events: [case-closed, case-opened]\n  review:']],
  [
    'a quorum of witnesses, in any order',
    [
      '  review:',
      '  witnesses:\n    - quorum any\n    - group any 1 a b\n    - witness b example.com/b+0123abcd+AAAB https://b.example/x\n    - witness a example.com/a+0123abcd+AAAA\n  unwitnessed: 1000\n  mirror: example.com/m+0123abcd+AAAC\n  review:',
    ],
  ],
  ['pipeline key', ['  review:', `  pipeline: ["${key('E')}"]\n  review:`]],
  ['readers of the log', ['  review:', `  readers: ["${key('E')}", "${key('F')}"]\n  review:`]],
  ['one signer', ['threshold: 2', 'threshold: 1']],
  ['block sequences', ['regions: [eu-west, eu-central]', 'regions:\n    - eu-west\n    - eu-central']],
  ['folded text', ['statement: Encrypted.', 'statement: "Encrypted\n      twice."']],
  ['a year of 365 days and a leap day', ['validUntil: "2027-03-31"', 'validUntil: "2028-02-29"']],
];

/** Documents that are refused, and one that is only warned of. */
export const INVALID: readonly Row[] = [
  // documents
  ['empty', { document: '' }, ['syntax 1:1: an empty document']],
  ['only a comment', { document: '# nothing\n' }, ['syntax 1:1: an empty document']],
  ['a list', { document: '- a\n' }, ['type 1:1: expected a mapping, found a list of 1']],
  ['a word', { document: 'policy' }, ['type 1:1: expected a mapping, found "policy"']],
  ['not UTF-8', { document: Uint8Array.of(0x65, 0xff, 0xfe) }, ['encoding 1:1: not UTF-8']],
  ['overlong UTF-8', { document: Uint8Array.of(0xc0, 0xaf) }, ['encoding 1:1: not UTF-8']],
  ['too large', { document: `# ${'x'.repeat(262_144)}` }, ['size 1:1: 262146 bytes where 262144 are allowed']],
  ['too deep', minimal(`data: ${'['.repeat(40)}${']'.repeat(40)}\n`), ['depth 3:38: nested deeper than 32 levels']],
  ['two documents', { document: `${MINIMAL}---\na: 1\n` }, ['yaml 3:1: a second document']],
  ['a directive', { document: `%YAML 1.1\n---\n${MINIMAL}` }, ['yaml 1:1: a directive']],
  ['unclosed brace', { document: '{"enclaim": 1' }, ['syntax 1:14: flow map must end with a }']],
  ['unclosed quote', minimal('claims: "\n'), ['syntax 4:1: missing closing "quote']],
  [
    'bad indentation',
    { document: 'enclaim: 1\n system:\n' },
    [
      'syntax 1:10: implicit keys need to be on a single line',
      'syntax 1:10: nested mappings are not allowed in compact mappings',
    ],
  ],
  ['tab as indentation', minimal('data:\n\ta: 1\n'), ['syntax 4:1: tabs are not allowed as indentation']],
  [
    'a key twice',
    ['  version: 3', '  version: 3\n  version: 4'],
    ['duplicate 6:3: the key "version" stands here twice'],
  ],
  [
    'a key twice in JSON',
    { document: '{"enclaim":1,"enclaim":1,"system":{"name":"a","owner":{"name":"A","contact":"a"},"version":1}}' },
    ['duplicate 1:14: the key "enclaim" stands here twice'],
  ],
  [
    'an anchor',
    ['subjects: [patient] }\n  personal.email', 'subjects: &s [patient] }\n  personal.email'],
    ['yaml 8:55: an anchor; write the value out where it is used'],
  ],
  [
    'an alias',
    ['  ids: {', '  ids2: *x\n  ids: {'],
    ['yaml 17:9: an alias; write the value out', 'type 17:9 collections.ids2: expected a mapping, found nothing'],
  ],
  [
    'a tag',
    ['name: clinic', 'name: !!str clinic'],
    ['yaml 3:15: a tag, tag:yaml.org,2002:str; values have the type they look like'],
  ],
  [
    'a binary tag',
    ['name: clinic', 'name: !!binary YQ=='],
    [
      'yaml 3:18: a tag, tag:yaml.org,2002:binary; values have the type they look like',
      'value 3:18 system.name: expected lower-case words joined by -, found "YQ=="',
    ],
  ],
  [
    'a merge key',
    ['  version: 3', '  version: 3\n  <<: { name: b }'],
    ['yaml 6:3: << is not text to every reader of YAML; put it in quotes'],
  ],
  [
    'a hexadecimal number',
    ['version: 3', 'version: 0x3'],
    ['yaml 5:12: a number that is not a plain decimal integer: 0x3; put it in quotes if it is text'],
  ],
  [
    'an octal number',
    ['version: 3', 'version: 0o3'],
    ['yaml 5:12: a number that is not a plain decimal integer: 0o3; put it in quotes if it is text'],
  ],
  [
    'a leading zero',
    ['version: 3', 'version: 03'],
    ['yaml 5:12: a number that is not a plain decimal integer: 03; put it in quotes if it is text'],
  ],
  [
    'a float',
    ['version: 3', 'version: 3.0'],
    ['yaml 5:12: a number that is not a plain decimal integer: 3.0; put it in quotes if it is text'],
  ],
  [
    'an exponent',
    ['version: 3', 'version: 3e0'],
    ['yaml 5:12: a number that is not a plain decimal integer: 3e0; put it in quotes if it is text'],
  ],
  [
    'a number too large',
    ['version: 3', 'version: 90071992547409930'],
    [
      'yaml 5:12: a number that is not a plain decimal integer: 90071992547409930; put it in quotes if it is text',
      'value 5:12 system.version: expected at most 9007199254740991, found 90071992547409940',
    ],
  ],
  ['a key that is a list', minimal('? [a]\n: 1\n'), ['yaml 3:3: a key that is not text']],
  ['a key that is a number', minimal('controls: { 1: a }\n'), ['yaml 3:13: a key that is not text']],
  [
    'the prototype of all',
    minimal('data: { __proto__: { description: x } }\n'),
    ['unknown 3:9: unknown key "__proto__"'],
  ],
  // shape
  ['no version of the grammar', ['enclaim: 1\n', ''], ['missing 1:1 enclaim: "enclaim" is missing: expected 1']],
  ['another version of the grammar', ['enclaim: 1', 'enclaim: 2'], ['value 1:10 enclaim: expected 1, found 2']],
  ['version of the grammar as text', ['enclaim: 1', 'enclaim: "1"'], ['value 1:10 enclaim: expected 1, found "1"']],
  ['no system', { document: 'enclaim: 1\n' }, ['missing 1:1 system: "system" is missing: expected a mapping']],
  [
    'no owner',
    ['  owner: { name: Clinic, contact: a@clinic.example }\n', ''],
    ['missing 2:1 system.owner: "owner" is missing: expected a mapping'],
  ],
  [
    'an unknown section',
    minimal('servces: {}\n'),
    ['unknown 3:1 servces: unknown key "servces"; did you mean "services"?'],
  ],
  [
    'an unknown key',
    ['retention: P30D', 'retention: P30D, encrypted: true'],
    ['unknown 16:55 collections.cases.encrypted: unknown key "encrypted"'],
  ],
  [
    'a misspelt key',
    ['receives: [personal.email]', 'recieves: [personal.email]'],
    ['unknown 23:5 subprocessors.mailer.recieves: unknown key "recieves"; did you mean "receives"?'],
  ],
  [
    'a section that is a list',
    minimal('services: []\n'),
    ['type 3:11 services: expected a mapping, found a list of 0'],
  ],
  ['a section that is nothing', minimal('services:\n'), ['type 3:10 services: expected a mapping, found nothing']],
  [
    'a list that is text',
    ['holds: [operational]', 'holds: operational'],
    ['type 17:17 collections.ids.holds: expected a list, found "operational"'],
  ],
  [
    'a mapping that is text',
    ['{ description: ids }', 'ids'],
    ['type 10:16 data.operational: expected a mapping, found "ids"'],
  ],
  [
    'a name with capitals',
    ['name: clinic', 'name: Clinic'],
    ['value 3:9 system.name: expected lower-case words joined by -, found "Clinic"'],
  ],
  [
    'a name of an object',
    ['  ids: {', '  constructor: {'],
    [
      'value 17:16 collections.constructor: expected a name that JavaScript objects do not have already, found "constructor"',
    ],
  ],
  [
    'a name with a dash',
    ['  ids: {', '  my-ids: {'],
    [
      'value 17:11 collections["my-ids"]: expected a name such as "cases": a lower-case letter, then letters, digits and _, found "my-ids"',
    ],
  ],
  [
    'a category with capitals',
    ['  operational:', '  Operational2: { description: x }\n  operational:'],
    ['value 10:17 data.Operational2: expected a data category such as "personal.health", found "Operational2"'],
  ],
  [
    'public declared',
    ['  operational:', '  public: { description: x }\n  operational:'],
    ['value 10:11 data.public: "public" is built in and is not declared, found "public"'],
  ],
  [
    'a category with empty part',
    ['  operational:', '  a..b: { description: x }\n  operational:'],
    ['value 10:9 data["a..b"]: expected a data category such as "personal.health", found "a..b"'],
  ],
  ['version zero', ['version: 3', 'version: 0'], ['value 5:12 system.version: expected at least 1, found 0']],
  [
    'version as text',
    ['version: 3', 'version: three'],
    ['type 5:12 system.version: expected an integer, found "three"'],
  ],
  [
    'succeeds with another hash',
    [`sha384:${hex('a', 96)}`, `sha256:${hex('a')}`],
    [
      'value 6:13 system.succeeds: expected "sha384:" and 96 lower-case hex digits, found "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…"',
    ],
  ],
  [
    'succeeds in capitals',
    [`sha384:${hex('a', 96)}`, `sha384:${hex('A', 96)}`],
    [
      'value 6:13 system.succeeds: expected "sha384:" and 96 lower-case hex digits, found "sha384:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA…"',
    ],
  ],
  [
    'owner key too short',
    ['contact: a@clinic.example', 'contact: a@clinic.example, key: "ed25519:AAAA"'],
    ['value 4:58 system.owner.key: expected "ed25519:" and 32 bytes in base64url, found "ed25519:AAAA"'],
  ],
  [
    'a control character',
    ['name: Clinic', 'name: "Cli\\u0007nic"'],
    ['value 4:18 system.owner.name: expected one line of text without control characters, found "Cli�nic"'],
  ],
  [
    'a bidirectional override',
    ['statement: Encrypted.', 'statement: "Encrypted \\u202e.reven"'],
    [
      'value 42:54 claims[0].statement: expected one line of text without control characters, found "Encrypted �.reven"',
    ],
  ],
  [
    'an empty statement',
    ['statement: Encrypted.', 'statement: ""'],
    ['value 42:54 claims[0].statement: expected one line of text without control characters, found ""'],
  ],
  [
    'a statement too long',
    ['statement: Encrypted.', `statement: "${'x'.repeat(2001)}"`],
    ['value 42:54 claims[0].statement: expected at most 2000 characters'],
  ],
  [
    'an identifier of 64 KiB',
    ['name: clinic', `name: ${'x'.repeat(65_536)}`],
    ['value 3:9 system.name: expected at most 64 characters'],
  ],
  [
    'a service that is no name',
    ['  c.v1.Intake:', '  c.v1.In-take:'],
    [
      'value 13:5 services["c.v1.In-take"]: expected the full name of a service, such as "clinic.v1.Intake", found "c.v1.In-take"',
      'reference 26:27 declassify[0].method: no method "c.v1.Intake/Submit" is declared',
      'reference 40:45 overrides[0].on: no method "c.v1.Intake/Submit" is declared',
    ],
  ],
  [
    'a method that is no name',
    ['    Read:', '    "Re ad":'],
    ['value 14:14 services["c.v1.Intake"]["Re ad"]: expected the name of a method, found "Re ad"'],
  ],
  [
    'no callers',
    ['callers: [staff], accepts: [operational]', 'accepts: [operational]'],
    ['missing 14:5 services["c.v1.Intake"].Read.callers: "callers" is missing: expected a list'],
  ],
  [
    'no purpose',
    ['purpose: care, callers: [staff], accepts: [operational]', 'callers: [staff], accepts: [operational]'],
    ['missing 14:5 services["c.v1.Intake"].Read.purpose: "purpose" is missing: expected text'],
  ],
  [
    'interface of another form',
    ['returns: [personal.health]', 'returns: [personal.health], interface: pinned'],
    [
      'value 14:125 services["c.v1.Intake"].Read.interface: expected "sha256:" and 64 lower-case hex digits, found "pinned"',
    ],
  ],
  [
    'no retention',
    [', retention: P30D', ''],
    ['missing 16:3 collections.cases.retention: "retention" is missing: expected "unlimited" or text'],
  ],
  [
    'retention without unit',
    ['retention: P30D', 'retention: 30'],
    ['value 16:49 collections.cases.retention: expected "unlimited" or text, found 30'],
  ],
  [
    'retention of nothing',
    ['retention: P30D', 'retention: P0D'],
    ['value 16:49 collections.cases.retention: expected an ISO 8601 duration such as "P30D", found "P0D"'],
  ],
  [
    'retention of nothing at all',
    ['retention: P30D', 'retention: P'],
    ['value 16:49 collections.cases.retention: expected an ISO 8601 duration such as "P30D", found "P"'],
  ],
  [
    'retention with fraction',
    ['retention: P30D', 'retention: P1.5D'],
    ['value 16:49 collections.cases.retention: expected an ISO 8601 duration such as "P30D", found "P1.5D"'],
  ],
  [
    'plaintext storage',
    ['storage: volatile', 'storage: plaintext'],
    ['value 17:41 collections.ids.storage: expected "sealed", "volatile", found "plaintext"'],
  ],
  [
    'address without scheme',
    ['https://mail.example.eu', 'mail.example.eu'],
    [
      'value 20:14 subprocessors.mailer.address: expected an origin such as "https://mail.example.eu": a host name, no path, no IP address, found "mail.example.eu"',
    ],
  ],
  [
    'address in the clear',
    ['https://mail.example.eu', 'http://mail.example.eu'],
    [
      'value 20:14 subprocessors.mailer.address: expected an origin such as "https://mail.example.eu": a host name, no path, no IP address, found "http://mail.example.eu"',
    ],
  ],
  [
    'address that is an IP address',
    ['https://mail.example.eu', 'https://192.0.2.1'],
    [
      'value 20:14 subprocessors.mailer.address: expected an origin such as "https://mail.example.eu": a host name, no path, no IP address, found "https://192.0.2.1"',
    ],
  ],
  [
    'address with a port that does not exist',
    ['https://mail.example.eu', 'https://mail.example.eu:65536'],
    [
      'value 20:14 subprocessors.mailer.address: expected an origin such as "https://mail.example.eu": a host name, no path, no IP address, found "https://mail.example.eu:65536"',
    ],
  ],
  [
    'address with a path',
    ['https://mail.example.eu', 'https://mail.example.eu/send'],
    [
      'value 20:14 subprocessors.mailer.address: expected an origin such as "https://mail.example.eu": a host name, no path, no IP address, found "https://mail.example.eu/send"',
    ],
  ],
  [
    'address with a user',
    ['https://mail.example.eu', 'https://a@mail.example.eu'],
    [
      'value 20:14 subprocessors.mailer.address: expected an origin such as "https://mail.example.eu": a host name, no path, no IP address, found "https://a@mail.example.eu"',
    ],
  ],
  [
    'address with a dot at its end',
    ['https://mail.example.eu', 'https://mail.example.eu.'],
    [
      'value 20:14 subprocessors.mailer.address: expected an origin such as "https://mail.example.eu": a host name, no path, no IP address, found "https://mail.example.eu."',
    ],
  ],
  [
    'address in letters that look alike',
    ['https://mail.example.eu', 'https://mаil.example.eu'],
    [
      'value 20:14 subprocessors.mailer.address: expected an origin such as "https://mail.example.eu": a host name, no path, no IP address, found "https://mаil.example.eu"',
    ],
  ],
  [
    'address that is an IPv6 address',
    ['https://mail.example.eu', 'https://[2001:db8::1]'],
    [
      'value 20:14 subprocessors.mailer.address: expected an origin such as "https://mail.example.eu": a host name, no path, no IP address, found "https://[2001:db8::1]"',
    ],
  ],
  [
    'address that is one number',
    ['https://mail.example.eu', 'https://3221225985'],
    [
      'value 20:14 subprocessors.mailer.address: expected an origin such as "https://mail.example.eu": a host name, no path, no IP address, found "https://3221225985"',
    ],
  ],
  [
    'address in capitals',
    ['https://mail.example.eu', 'https://Mail.example.eu'],
    [
      'value 20:14 subprocessors.mailer.address: expected an origin such as "https://mail.example.eu": a host name, no path, no IP address, found "https://Mail.example.eu"',
    ],
  ],
  [
    'no identity',
    ['    identity: { ca: system }\n', ''],
    ['missing 19:3 subprocessors.mailer.identity: "identity" is missing: expected a mapping'],
  ],
  [
    'two identities',
    ['{ ca: system }', '{ ca: system, spki: ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] }'],
    ['value 21:15 subprocessors.mailer.identity: expected exactly one of spki, ca and attested, found a mapping'],
  ],
  [
    'an empty identity',
    ['{ ca: system }', '{}'],
    ['value 21:15 subprocessors.mailer.identity: expected exactly one of spki, ca and attested, found a mapping'],
  ],
  [
    'no pins',
    ['{ ca: system }', '{ spki: [] }'],
    ['value 21:23 subprocessors.mailer.identity.spki: expected at least 1, found a list of 0'],
  ],
  [
    'a pin of another form',
    ['{ ca: system }', '{ spki: [AAAA] }'],
    ['value 21:24 subprocessors.mailer.identity.spki[0]: expected "sha256/" and a SHA-256 in base64, found "AAAA"'],
  ],
  [
    'a day that does not exist',
    ['validUntil: "2027-03-31"', 'validUntil: "2027-02-29"'],
    ['value 24:133 subprocessors.mailer.assurance.validUntil: expected a day that exists, found "2027-02-29"'],
  ],
  [
    'a day of another form',
    ['validUntil: "2027-03-31"', 'validUntil: 31.3.2027'],
    ['value 24:133 subprocessors.mailer.assurance.validUntil: expected a day such as "2027-03-31", found "31.3.2027"'],
  ],
  [
    'an assurance without document',
    [`document: "sha256:${hex('b')}", `, ''],
    ['missing 24:5 subprocessors.mailer.assurance.document: "document" is missing: expected text'],
  ],
  [
    'a call of another form',
    ['call: POST /send', 'call: GET /send'],
    ['value 26:65 declassify[0].call: expected "pkg.Service/Method" or "POST /path", found "GET /send"'],
  ],
  [
    'no justification',
    [', justification: asked for', ''],
    ['missing 26:5 declassify[0].justification: "justification" is missing: expected text'],
  ],
  [
    'no regions',
    ['[eu-west, eu-central]', '[]'],
    ['value 28:12 residency.regions: expected at least 1, found a list of 0'],
  ],
  [
    'a quorum of nobody',
    ['  review:', '  witnesses: [quorum none]\n  review:'],
    ['conflict 54:14 evidence.witnesses: quorum none demands no cosignature; leave the witnesses out'],
  ],
  [
    'a circle of witnesses',
    [
      '  review:',
      '  witnesses: [witness w example.com/w+0123abcd+AAAA, group a all w b, group b all a, quorum a]\n  review:',
    ],
    ['conflict 54:54 evidence.witnesses[1]: member b is not defined before'],
  ],
  [
    'a limit without witnesses',
    ['  review:', '  unwitnessed: 5\n  review:'],
    [
      'conflict 54:16 evidence.unwitnessed: counts from the last cosigned checkpoint; evidence.witnesses names nobody who cosigns',
    ],
  ],
  [
    'a mirror that is a witness',
    ['  review:', '  witnesses: [example.com/w+0123abcd+AAAA]\n  mirror: example.com/w+0123abcd+AAAA\n  review:'],
    ['conflict 55:11 evidence.mirror: is the key of a witness; a mirror has a key of its own'],
  ],
  [
    'a witness of another kind',
    ['kind: gcp-instance-identity', 'kind: gcp-instance-identty'],
    [
      'value 29:31 residency.witness.kind: expected "aws-instance-identity", "azure-attested-document", "gcp-instance-identity", "statement", found "gcp-instance-identty"; did you mean "gcp-instance-identity"?',
    ],
  ],
  [
    'attested connections for a method that is none',
    ['access:\n', 'access:\n  attested: [c.v1.Intake/Raed]\n'],
    ['reference 31:14 access.attested[0]: no method "c.v1.Intake/Raed" is declared; did you mean "c.v1.Intake/Read"?'],
  ],
  [
    'attested connections for no method',
    ['access:\n', 'access:\n  attested: []\n'],
    ['value 31:13 access.attested: expected at least 1, found a list of 0'],
  ],
  [
    'attested connections in other words',
    ['access:\n', 'access:\n  attested: personel\n'],
    ['value 31:13 access.attested: expected "all" or "personal" or a list, found "personel"'],
  ],
  [
    'two sources of identity',
    [
      `mtls: { ca: "sha256:${hex('d')}" }`,
      `mtls: { ca: "sha256:${hex('d')}" }, oidc: { issuer: "https://a.example", audience: a, keys: {} }`,
    ],
    ['value 32:12 access.identities.staff: expected exactly one of oidc and mtls, found a mapping'],
  ],
  [
    'no source of identity',
    [`, mtls: { ca: "sha256:${hex('d')}" }`, ''],
    ['value 32:12 access.identities.staff: expected exactly one of oidc and mtls, found a mapping'],
  ],
  [
    'no category of identity',
    ['category: operational, ', ''],
    ['missing 32:5 access.identities.staff.category: "category" is missing: expected text'],
  ],
  [
    'an algorithm that is none',
    [
      `mtls: { ca: "sha256:${hex('d')}" }`,
      'oidc: { issuer: "https://a.example", audience: a, keys: { a: "none:AAAA" } }',
    ],
    [
      'value 32:120 access.identities.staff.oidc.keys.a: expected an algorithm, ":" and a key (SPKI, base64url), found "none:AAAA"',
    ],
  ],
  [
    'an issuer in the clear',
    [`mtls: { ca: "sha256:${hex('d')}" }`, 'oidc: { issuer: "http://a.example", audience: a, keys: {} }'],
    ['value 32:75 access.identities.staff.oidc.issuer: expected an https URL, found "http://a.example"'],
  ],
  [
    'a percentage above 100',
    ['minScore: 80', 'minScore: 101'],
    ['value 36:28 governance.sovereignty.minScore: expected at most 100, found 101'],
  ],
  [
    'a percentage below 0',
    ['minScore: 80', 'minScore: -1'],
    ['value 36:28 governance.sovereignty.minScore: expected at least 0, found -1'],
  ],
  [
    'an unknown detector',
    ['detectors: [email', 'detectors: [emial'],
    [
      'value 37:24 governance.leaks.detectors[0]: expected "credential", "email", "exact-match", "iban", "payment-card", found "emial"; did you mean "email"?',
    ],
  ],
  [
    'no detectors',
    ['detectors: [email, iban, payment-card, credential]', 'detectors: []'],
    ['value 37:23 governance.leaks.detectors: expected at least 1, found a list of 0'],
  ],
  [
    'a size without unit',
    ['memory: 256MiB', 'memory: 256'],
    ['type 38:24 governance.resources.memory: expected text, found 256'],
  ],
  [
    'a size in decimal units',
    ['memory: 256MiB', 'memory: 256MB'],
    ['value 38:24 governance.resources.memory: expected a size such as "256MiB", found "256MB"'],
  ],
  [
    'a time without unit',
    ['cpu: 500ms', 'cpu: 500'],
    ['type 38:37 governance.resources.cpu: expected text, found 500'],
  ],
  [
    'half of the governance',
    ['maxExternalCalls: 1', 'maxCalls: 1'],
    [
      'missing 36:3 governance.sovereignty.maxExternalCalls: "maxExternalCalls" is missing: expected an integer',
      'unknown 36:32 governance.sovereignty.maxCalls: unknown key "maxCalls"',
    ],
  ],
  [
    'an override without expiry',
    [', expires: "2026-12-31"', ''],
    ['missing 40:5 overrides[0].expires: "expires" is missing: expected text'],
  ],
  [
    'an override without ticket',
    [', ticket: T-1', ''],
    ['missing 40:5 overrides[0].ticket: "ticket" is missing: expected text'],
  ],
  [
    'an unknown kind of claim',
    ['kind: encryption-at-rest', 'kind: encryption-at-reset'],
    [
      'value 42:23 claims[0].kind: expected "access-logged", "audited-system", "authorised-access", "bounded-resources", "deleted-after-retention", "encryption-at-rest", "local-first", "no-leakage", "no-undisclosed-recipients", "residency", "subprocessors-assured", found "encryption-at-reset"; did you mean "encryption-at-rest"?',
    ],
  ],
  [
    'a claim about no data',
    ['statement: Encrypted.', 'statement: Encrypted., data: []'],
    ['value 42:72 claims[0].data: expected at least 1, found a list of 0'],
  ],
  [
    'a control without framework',
    ['soc2/cc6.1', 'cc6.1'],
    ['value 42:77 claims[0].controls[0]: expected a control such as "soc2/cc6.1", found "cc6.1"'],
  ],
  [
    'an unknown durability',
    ['  review:', '  durability: sometime\n  review:'],
    ['value 54:15 evidence.durability: expected "before-response", "batched", found "sometime"'],
  ],
  [
    'an event that is no word',
    ['  review:', '  events: [Case closed]\n  review:'],
    ['value 54:12 evidence.events[0]: expected lower-case words joined by -, found "Case closed"'],
  ],
  [
    'a list of no event',
    ['  review:', '  events: []\n  review:'],
    ['value 54:11 evidence.events: expected at least 1, found a list of 0'],
  ],
  ...TAKEN_HEADERS.map(
    (header): Row => [
      `a credential in the header ${header}`,
      [OWNED, credential(`header: ${header}, secret: token`)],
      [
        `value 24:27 subprocessors.mailer.credential.header: expected a header that the protocols leave free, found "${header}"`,
      ],
    ],
  ),
  [
    'a credential in a header with a colon',
    [OWNED, credential('header: ":path", secret: token')],
    [
      'value 24:27 subprocessors.mailer.credential.header: expected a header in small letters, such as "authorization", found ":path"',
    ],
  ],
  [
    'a credential in a header of 65 characters',
    [OWNED, credential(`header: ${'a'.repeat(65)}, secret: token`)],
    ['value 24:27 subprocessors.mailer.credential.header: expected at most 64 characters'],
  ],
  [
    'a scheme of two words',
    [OWNED, credential('header: authorization, scheme: Bearer of, secret: token')],
    ['value 24:50 subprocessors.mailer.credential.scheme: expected one word, such as "Bearer", found "Bearer of"'],
  ],
  [
    'a credential in the header and by certificate',
    [OWNED, credential('header: authorization, secret: token, certificate: mailer')],
    ['value 24:17 subprocessors.mailer.credential: expected header and secret, or certificate alone, found a mapping'],
  ],
  [
    'a credential in the header without a secret',
    [OWNED, credential('header: authorization')],
    ['value 24:17 subprocessors.mailer.credential: expected header and secret, or certificate alone, found a mapping'],
  ],
  [
    'a credential that nobody can bring',
    credential('header: authorization, secret: token'),
    ['conflict 24:17 subprocessors.mailer.credential: no owner could bring the secret: system.owner.key is none'],
  ],
  [
    'epochs shorter than a minute',
    ['epoch: PT10M', 'epoch: PT59S'],
    ['value 56:19 storage.epoch: expected PT1M to P1D, found "PT59S"'],
  ],
  [
    'epochs longer than a day',
    ['epoch: PT10M', 'epoch: PT25H'],
    ['value 56:19 storage.epoch: expected PT1M to P1D, found "PT25H"'],
  ],
  [
    'a deletion that is never final',
    ['storage: { epoch: PT10M }\n', ''],
    [
      'unbacked 46:5 claims[4]: deleted-after-retention needs storage.epoch; without it, what was deleted stays readable on older copies of the disk until the next boot',
    ],
  ],
  [
    'a keeper under a policy that keeps nothing',
    ['epoch: PT10M', `epoch: PT10M, keeper: { policy: same, address: "https://k.example.eu", ${MACHINES} }`],
    ['conflict 56:44 storage.keeper.policy: a machine under this policy keeps no keys: storage.keeps is not there'],
  ],
  [
    'indexes of records that are any JSON',
    ['retention: P30D }', 'retention: P30D, indexes: [patient_id] }'],
    ['conflict 16:64 collections.cases.indexes: no message is named whose fields these are: collections.cases.message'],
  ],
  [
    'one index twice',
    ['retention: P30D }', 'retention: P30D, message: c.v1.Case, indexes: [patient_id, patient_id] }'],
    ['duplicate 16:97 collections.cases.indexes[1]: "patient_id" stands here twice'],
  ],
  [
    'no index',
    ['retention: P30D }', 'retention: P30D, message: c.v1.Case, indexes: [] }'],
    ['value 16:84 collections.cases.indexes: expected at least 1, found a list of 0'],
  ],
  [
    'more indexes than a row has room for',
    ['retention: P30D }', 'retention: P30D, message: c.v1.Case, indexes: [a, b, c, d, e, f, g, h, i] }'],
    ['value 16:84 collections.cases.indexes: expected at most 8, found a list of 9'],
  ],
  [
    'quotes as often as no hardware makes them',
    ['  review:', '  quoted: 50ms\n  review:'],
    ['value 54:11 evidence.quoted: expected "0s", or a time of 100ms to 60min, found "50ms"'],
  ],
  [
    'quotes after more than an hour',
    ['  review:', '  quoted: 61min\n  review:'],
    ['value 54:11 evidence.quoted: expected "0s", or a time of 100ms to 60min, found "61min"'],
  ],
  [
    'a review without reviewers',
    [`, by: ["${key('A')}"]`, ''],
    ['missing 54:3 evidence.review.by: "by" is missing: expected a list'],
  ],
  [
    'a review by nobody',
    [`["${key('A')}"]`, '[]'],
    ['value 54:30 evidence.review.by: expected at least 1, found a list of 0'],
  ],
  [
    'no signers',
    [`signers: ["${key('B')}", "${key('C')}"]`, 'signers: []'],
    ['value 55:24 succession.signers: expected at least 1, found a list of 0'],
  ],
  [
    'more signers than a succession has room for',
    [
      `signers: ["${key('B')}", "${key('C')}"]`,
      `signers: [${Array.from({ length: 33 }, (_, i) => `"ed25519:${String(i).padStart(43, 'A')}"`).join(', ')}]`,
    ],
    ['value 55:24 succession.signers: expected at most 32, found a list of 33'],
  ],
  [
    'a threshold of zero',
    ['threshold: 2', 'threshold: 0'],
    ['value 55:147 succession.threshold: expected at least 1, found 0'],
  ],
  // references
  [
    'an undeclared category',
    ['holds: [personal.health]', 'holds: [personal.helth]'],
    [
      'reference 16:20 collections.cases.holds[0]: no data category "personal.helth" is declared; did you mean "personal.health"?',
      'unbacked 42:5 claims[0]: encryption-at-rest needs a sealed collection; ids is volatile, so nothing is at rest',
      'unbacked 46:5 claims[4]: deleted-after-retention needs a collection; none holds personal.health',
    ],
  ],
  [
    'an undeclared category, nothing near',
    ['holds: [personal.health]', 'holds: [weather]'],
    [
      'reference 16:20 collections.cases.holds[0]: no data category "weather" is declared',
      'unbacked 42:5 claims[0]: encryption-at-rest needs a sealed collection; ids is volatile, so nothing is at rest',
      'unbacked 46:5 claims[4]: deleted-after-retention needs a collection; none holds personal.health',
    ],
  ],
  [
    'an undeclared category accepted',
    ['accepts: [operational]', 'accepts: [operational, opertional]'],
    [
      'reference 14:69 services["c.v1.Intake"].Read.accepts[1]: no data category "opertional" is declared; did you mean "operational"?',
    ],
  ],
  [
    'an undeclared category returned',
    ['returns: [personal.health]', 'returns: [personal.health.x]'],
    [
      'reference 14:96 services["c.v1.Intake"].Read.returns[0]: no data category "personal.health.x" is declared; did you mean "personal.health"?',
    ],
  ],
  [
    'an undeclared category received',
    ['receives: [personal.email]', 'receives: [personal.emial]'],
    [
      'reference 23:16 subprocessors.mailer.receives[0]: no data category "personal.emial" is declared; did you mean "personal.email"?',
    ],
  ],
  [
    'an undeclared category of an identity',
    ['category: operational', 'category: staff.identity'],
    ['reference 32:24 access.identities.staff.category: no data category "staff.identity" is declared'],
  ],
  [
    'an undeclared category in a claim',
    ['data: [personal.health]', 'data: [personal.heath]'],
    [
      'reference 46:76 claims[4].data[0]: no data category "personal.heath" is declared; did you mean "personal.health"?',
    ],
  ],
  [
    'an undeclared collection read',
    ['reads: [cases]', 'reads: [case]'],
    ['reference 14:78 services["c.v1.Intake"].Read.reads[0]: no collection "case" is declared; did you mean "cases"?'],
  ],
  [
    'an undeclared collection written',
    ['stores: [cases]', 'stores: [caes]'],
    [
      'reference 13:78 services["c.v1.Intake"].Submit.stores[0]: no collection "caes" is declared; did you mean "cases"?',
    ],
  ],
  [
    'an undeclared subprocessor',
    ['sends: [mailer]', 'sends: [mailr]'],
    [
      'reference 13:94 services["c.v1.Intake"].Submit.sends[0]: no subprocessor "mailr" is declared; did you mean "mailer"?',
      'conflict 26:51 declassify[0].to: c.v1.Intake/Submit does not send to mailer',
    ],
  ],
  [
    'an undeclared identity',
    ['callers: [staff], accepts: [operational]', 'callers: [stuff], accepts: [operational]'],
    ['reference 14:38 services["c.v1.Intake"].Read.callers[0]: no identity "stuff" is declared; did you mean "staff"?'],
  ],
  [
    'a release of an undeclared method',
    ['id: notify, method: c.v1.Intake/Submit', 'id: notify, method: c.v1.Intake/Sumbit'],
    [
      'reference 26:27 declassify[0].method: no method "c.v1.Intake/Sumbit" is declared; did you mean "c.v1.Intake/Submit"?',
    ],
  ],
  [
    'a release to an undeclared subprocessor',
    ['to: mailer', 'to: mailman'],
    ['reference 26:51 declassify[0].to: no subprocessor "mailman" is declared; did you mean "mailer"?'],
  ],
  [
    'a release from an undeclared collection',
    ['$request.email', '$record.cses.email'],
    ['reference 26:90 declassify[0].build.to: no collection "cses" is declared; did you mean "cases"?'],
  ],
  [
    'an override on an undeclared method',
    ['on: c.v1.Intake/Submit', 'on: c.v1.Intake/Notify'],
    ['reference 40:45 overrides[0].on: no method "c.v1.Intake/Notify" is declared'],
  ],
  [
    'an override of an undeclared assurance',
    ['suspends: leaks.email', 'suspends: assurance.mialer'],
    ['reference 40:28 overrides[0].suspends: no subprocessor "mialer" is declared; did you mean "mailer"?'],
  ],
  [
    'a budget for an undeclared method',
    [
      'pressure: { memory: 20, cpu: 60 }',
      'pressure: { memory: 20, cpu: 60 }, methods: { c.v1.Intake/Reed: { memory: 64MiB, cpu: 50ms, wall: 1s } }',
    ],
    [
      'reference 38:132 governance.resources.methods["c.v1.Intake/Reed"]: no method "c.v1.Intake/Reed" is declared; did you mean "c.v1.Intake/Read"?',
    ],
  ],
  // duplicates
  [
    'a set member twice',
    ['accepts: [operational]', 'accepts: [operational, operational]'],
    ['duplicate 14:69 services["c.v1.Intake"].Read.accepts[1]: "operational" stands here twice'],
  ],
  ['a claim id twice', ['id: share', 'id: rest'], ['duplicate 43:5 claims[1]: "rest" stands here twice']],
  [
    'an override id twice',
    [
      'overrides:\n',
      'overrides:\n  - { id: OVR-7, suspends: leaks.email, on: c.v1.Intake/Read, owner: me, ticket: T-2, justification: x, expires: "2026-12-31" }\n',
    ],
    ['duplicate 41:5 overrides[1]: "OVR-7" stands here twice'],
  ],
  [
    'a region twice',
    ['[eu-west, eu-central]', '[eu-west, eu-west]'],
    ['duplicate 28:22 residency.regions[1]: "eu-west" stands here twice'],
  ],
  [
    'a signer twice',
    [key('C'), key('B')],
    ['duplicate 55:80 succession.signers[1]: "ed25519:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB" stands here twice'],
  ],
  // contradictions
  [
    'version 1 that succeeds',
    ['version: 3', 'version: 1'],
    ['conflict 6:13 system.succeeds: version 1 succeeds no other policy'],
  ],
  [
    'a region outside',
    ['region: eu-west', 'region: us-east'],
    [
      'conflict 22:13 subprocessors.mailer.region: region us-east is outside residency.regions (eu-west, eu-central), so nothing could ever be sent',
    ],
  ],
  [
    'a release by a method that does not send',
    ['sends: [mailer], returns', 'returns'],
    ['conflict 26:51 declassify[0].to: c.v1.Intake/Submit does not send to mailer'],
  ],
  [
    'a release from nowhere',
    ['$request.email', '$caller.email'],
    ['conflict 26:90 declassify[0].build.to: expected $request.field, $record.collection.field or fixed text'],
  ],
  [
    'a release from a request that may be any',
    [`returns: [operational], interface: "sha256:${hex('e')}"`, 'returns: [operational]'],
    [
      'conflict 26:90 declassify[0].build.to: c.v1.Intake/Submit does not pin its interface, so nobody knows what $request.email is',
    ],
  ],
  [
    'a release of everything',
    ['$request.email', '$request'],
    ['conflict 26:90 declassify[0].build.to: expected $request.field, $record.collection.field or fixed text'],
  ],
  [
    'a budget larger than the whole',
    [
      'pressure: { memory: 20, cpu: 60 }',
      'pressure: { memory: 20, cpu: 60 }, methods: { c.v1.Intake/Read: { memory: 1GiB, cpu: 1s, wall: 2min } }',
    ],
    [
      'conflict 38:142 governance.resources.methods["c.v1.Intake/Read"].memory: more than 256MiB for all',
      'conflict 38:153 governance.resources.methods["c.v1.Intake/Read"].cpu: more than 500ms for all',
      'conflict 38:163 governance.resources.methods["c.v1.Intake/Read"].wall: more than 5s for all',
    ],
  ],
  [
    'an override of nothing',
    ['suspends: leaks.email', 'suspends: leaks.exact-match'],
    ['conflict 40:28 overrides[0].suspends: nothing in this policy is called leaks.exact-match'],
  ],
  [
    'an override of the recipients',
    ['suspends: leaks.email', 'suspends: subprocessors.mailer'],
    ['conflict 40:28 overrides[0].suspends: nothing in this policy is called subprocessors.mailer'],
  ],
  [
    'an override of the log',
    ['suspends: leaks.email', 'suspends: evidence.durability'],
    ['conflict 40:28 overrides[0].suspends: nothing in this policy is called evidence.durability'],
  ],
  [
    'more signatures than signers',
    ['threshold: 2', 'threshold: 3'],
    ['conflict 55:147 succession.threshold: 3 signatures of 2 signers'],
  ],
  // claims
  [
    'encryption of data that no collection holds',
    ['statement: Encrypted.', 'statement: Encrypted., data: [personal.email]'],
    ['unbacked 42:5 claims[0]: encryption-at-rest needs a collection; none holds personal.email'],
  ],
  [
    'encryption without collections',
    minimal('data: { a: { description: a } }\nclaims:\n  - { id: a, kind: encryption-at-rest, statement: A. }\n'),
    ['unbacked 5:5 claims[0]: encryption-at-rest needs a collection; none holds any data'],
  ],
  [
    'a log that is not reviewed',
    [`  review: { every: P30D, by: ["${key('A')}"] }`, '  retention: P7Y'],
    ['unbacked 44:5 claims[2]: access-logged needs evidence.review with a cadence and reviewers; there is none'],
  ],
  [
    'a log after the response',
    ['  review:', '  durability: batched\n  review:'],
    ['unbacked 44:5 claims[2]: access-logged needs evidence.durability before-response'],
  ],
  [
    'authorised access without Cedar',
    ['  cedar: |\n    permit(principal is staff, action, resource);\n', ''],
    ['unbacked 43:5 claims[3]: authorised-access needs access.cedar; it is empty'],
  ],
  [
    'authorised access for anyone',
    ['callers: [staff], accepts: [operational]', 'callers: [anyone], accepts: [operational]'],
    ['unbacked 45:5 claims[3]: authorised-access needs authenticated callers; c.v1.Intake/Read answers anyone'],
  ],
  [
    'deletion of what is kept',
    ['retention: P30D', 'retention: unlimited'],
    ['unbacked 46:5 claims[4]: deleted-after-retention needs a retention on collections.cases; it is unlimited'],
  ],
  [
    'deletion of what is not personal',
    ['data: [personal.health]', 'data: [operational]'],
    ['unbacked 46:5 claims[4]: deleted-after-retention needs a personal category; operational has no subjects'],
  ],
  [
    'deletion of what is not held',
    ['data: [personal.health]', 'data: [personal.email]'],
    ['unbacked 46:5 claims[4]: deleted-after-retention needs a collection; none holds personal.email'],
  ],
  [
    'an assurance that is missing',
    [`    assurance: { kind: soc2-type2, document: "sha256:${hex('b')}", validUntil: "2027-03-31" }\n`, ''],
    [
      'unbacked 46:5 claims[5]: subprocessors-assured needs an assurance or an attested identity for subprocessors.mailer',
    ],
  ],
  [
    'residency without regions',
    [
      `residency:\n  regions: [eu-west, eu-central]\n  witness: { name: GCE, kind: gcp-instance-identity, key: "sha256:${hex('c')}" }\n`,
      '',
    ],
    ['unbacked 45:5 claims[6]: residency needs regions and a witness; residency is none'],
  ],
  [
    'residency without witness',
    [`  witness: { name: GCE, kind: gcp-instance-identity, key: "sha256:${hex('c')}" }\n`, ''],
    ['unbacked 47:5 claims[6]: residency needs a witness; nobody asserts where the system runs'],
  ],
  [
    'sovereignty without limits',
    ['  sovereignty: { minScore: 80, maxExternalCalls: 1 }\n', ''],
    ['unbacked 49:5 claims[8]: local-first needs governance.sovereignty; it is none'],
  ],
  [
    'leaks without detectors',
    [
      ['  leaks: { detectors: [email, iban, payment-card, credential], on: [egress, response, log] }\n', ''],
      ['suspends: leaks.email', 'suspends: resources.wall'],
    ],
    ['unbacked 50:5 claims[9]: no-leakage needs governance.leaks; it is none'],
  ],
  // words and characters that another reader takes otherwise
  [
    'a country that is a truth value',
    ['regions: [eu-west, eu-central]', 'regions: [no, eu-west]'],
    ['yaml 28:13: no is not text to every reader of YAML; put it in quotes'],
  ],
  [
    'a day that is a time',
    ['expires: "2026-12-31"', 'expires: 2026-12-31'],
    ['yaml 40:124: 2026-12-31 is not text to every reader of YAML; put it in quotes'],
  ],
  [
    'a number of the base of sixty',
    ['description: notes', 'description: 12:30:45'],
    ['yaml 8:35: 12:30:45 is not text to every reader of YAML; put it in quotes'],
  ],
  [
    'a number with underscores',
    ['description: notes', 'description: 1_000'],
    ['yaml 8:35: 1_000 is not text to every reader of YAML; put it in quotes'],
  ],
  [
    'a key that is a truth value',
    ['  operational: {', '  yes: { description: x }\n  operational: {'],
    ['yaml 10:3: yes is not text to every reader of YAML; put it in quotes'],
  ],
  [
    'a comment that ends at a line separator',
    ['name: clinic', 'name: clinic # one\u2028  version: 9'],
    ['encoding 3:21: U+2028, which readers of YAML take differently; write it as an escape in quotes'],
  ],
  [
    'a comment that ends at a lone carriage return',
    ['name: clinic', 'name: clinic # one\r  version: 9'],
    ['encoding 3:21: U+000D, which readers of YAML take differently; write it as an escape in quotes'],
  ],
  [
    'a NUL',
    ['name: clinic', 'name: clinic\0'],
    ['encoding 3:15: U+0000, which readers of YAML take differently; write it as an escape in quotes'],
  ],
  // claims that something backs, and hollowly
  [
    'a log that is reviewed once in a lifetime',
    ['every: P30D', 'every: P80Y'],
    ['unbacked 44:5 claims[2]: access-logged needs evidence.review.every of at most P92D; it is P80Y'],
  ],
  [
    'a log that is gone before it is reviewed',
    ['  review:', '  retention: PT1S\n  review:'],
    ['unbacked 44:5 claims[2]: access-logged needs evidence.retention of at least P1Y; it is PT1S'],
  ],
  [
    'a system that is another one a second later',
    ['notice: P7D', 'notice: PT1S'],
    ['unbacked 49:5 claims[7]: audited-system needs succession.notice of at least P1D; it is PT1S'],
  ],
  [
    'authorisation that permits all',
    ['permit(principal is staff, action, resource);', '@id("a") permit ( principal,action ,resource, ) ; // forbid'],
    [
      'unbacked 45:5 claims[3]: authorised-access needs access.cedar that tells callers apart; it permits all to everybody',
    ],
  ],
  [
    'a retention of a lifetime',
    ['retention: P30D', 'retention: P100Y'],
    [
      'unbacked 46:5 claims[4]: deleted-after-retention needs a retention of at most P30Y on collections.cases; it is P100Y',
    ],
  ],
  [
    'encryption of what is never stored',
    ['holds: [personal.health], retention', 'holds: [personal.health], storage: volatile, retention'],
    [
      'unbacked 42:5 claims[0]: encryption-at-rest needs a sealed collection; cases, ids are volatile, so nothing is at rest',
    ],
  ],
  [
    'assurance of nobody',
    minimal('claims:\n  - { id: a, kind: subprocessors-assured, statement: A. }\n'),
    ['unbacked 4:5 claims[0]: subprocessors-assured needs a subprocessor; there is none'],
  ],
  [
    'authorised access to nothing',
    minimal(
      `access: { identities: { a: { category: public, mtls: { ca: "sha256:${hex('d')}" } } }, cedar: "permit(principal is a, action, resource);" }\nclaims:\n  - { id: a, kind: authorised-access, statement: A. }\n`,
    ),
    ['unbacked 5:5 claims[0]: authorised-access needs a method; no service has a rule'],
  ],
  [
    'a region that the owner asserts',
    [
      ['contact: a@clinic.example', `contact: a@clinic.example, key: "${key('D')}"`],
      [`kind: gcp-instance-identity, key: "sha256:${hex('c')}"`, `kind: statement, key: "${key('D')}"`],
    ],
    [
      'unbacked 48:5 claims[6]: residency needs a witness other than the owner; residency.witness.key is system.owner.key',
    ],
  ],
  [
    'local by a score of 0 and a thousand calls',
    ['minScore: 80, maxExternalCalls: 1', 'minScore: 0, maxExternalCalls: 1000'],
    [
      'unbacked 50:5 claims[8]: local-first needs governance.sovereignty.maxExternalCalls of at most 4; it is 1000',
      'unbacked 50:5 claims[8]: local-first needs governance.sovereignty.minScore of at least 50; it is 0',
    ],
  ],
  [
    'IBANs looked for in the log alone',
    [
      [
        'detectors: [email, iban, payment-card, credential], on: [egress, response, log]',
        'detectors: [iban], on: [log]',
      ],
      ['suspends: leaks.email', 'suspends: leaks.iban'],
    ],
    [
      'unbacked 51:5 claims[9]: no-leakage needs credential among governance.leaks.detectors',
      'unbacked 51:5 claims[9]: no-leakage needs egress among governance.leaks.on; what leaves there is not looked at',
      'unbacked 51:5 claims[9]: no-leakage needs email among governance.leaks.detectors',
      'unbacked 51:5 claims[9]: no-leakage needs payment-card among governance.leaks.detectors',
      'unbacked 51:5 claims[9]: no-leakage needs response among governance.leaks.on; what leaves there is not looked at',
    ],
  ],
  [
    'bounds of a million minutes',
    [
      'memory: 256MiB, cpu: 500ms, wall: 5s, inFlight: 64, pressure: { memory: 20, cpu: 60 }',
      'memory: 64GiB, cpu: 1000000min, wall: 1000000min, inFlight: 100000, pressure: { memory: 100, cpu: 100 }',
    ],
    [
      'unbacked 52:5 claims[10]: bounded-resources needs governance.resources.cpu of at most 1min; it is 1000000min',
      'unbacked 52:5 claims[10]: bounded-resources needs governance.resources.inFlight of at most 4096; it is 100000',
      'unbacked 52:5 claims[10]: bounded-resources needs governance.resources.memory of at most 1GiB; it is 64GiB',
      'unbacked 52:5 claims[10]: bounded-resources needs governance.resources.pressure.cpu of at most 90; it is 100',
      'unbacked 52:5 claims[10]: bounded-resources needs governance.resources.pressure.memory of at most 90; it is 100',
      'unbacked 52:5 claims[10]: bounded-resources needs governance.resources.wall of at most 60min; it is 1000000min',
    ],
  ],
  [
    'bounds without resources',
    ['  resources: { memory: 256MiB, cpu: 500ms, wall: 5s, inFlight: 64, pressure: { memory: 20, cpu: 60 } }\n', ''],
    ['unbacked 51:5 claims[10]: bounded-resources needs governance.resources; it is none'],
  ],
  [
    'an unknown control is a warning',
    ['soc2/cc6.1', 'soc2/cc6.11'],
    [
      'control 42:77 claims[0].controls[0]: warning: no control "soc2/cc6.11" is known; did you mean "soc2/cc6.1"?; give its title in controls',
    ],
  ],
  // Cedar
  [
    'Cedar that does not parse',
    ['permit(principal is staff,', 'permit(principal is,'],
    [
      'cedar 34:24 access.cedar: failed to parse policies from string: unexpected token `,`; expected `!`, `(`, `-`, `[`, `{`, `false`, identifier, `if`, number, `?principal`, `?resource`, string literal, or `true`',
    ],
  ],
  [
    'Cedar of an unknown method',
    ['action, resource', 'action == Action::"c.v1.Intake/Sumbit", resource'],
    [
      'cedar 34:5 access.cedar: warning: for policy `policy0`, policy is impossible: the policy expression evaluates to false for all valid requests',
      'cedar 34:5 access.cedar: warning: for policy `policy0`, unable to find an applicable action given the policy scope constraints',
      'cedar 34:42 access.cedar: for policy `policy0`, unrecognized action `Action::"c.v1.Intake/Sumbit"`; did you mean `Action::"c.v1.Intake/Submit"`?',
    ],
  ],
  [
    'Cedar of an unknown identity',
    ['principal is staff', 'principal is stuff'],
    [
      'cedar 34:5 access.cedar: warning: for policy `policy0`, policy is impossible: the policy expression evaluates to false for all valid requests',
      'cedar 34:5 access.cedar: warning: for policy `policy0`, unable to find an applicable action given the policy scope constraints',
      'cedar 34:25 access.cedar: for policy `policy0`, unrecognized entity type `stuff`; did you mean `staff`?',
    ],
  ],
  [
    'Cedar of an unknown attribute',
    ['resource);', 'resource) when { context.porpose == "care" };'],
    [
      'cedar 34:57 access.cedar: for policy `policy0`, attribute `porpose` in context for Action::"c.v1.Intake/Read" not found; did you mean `purpose`?',
      'cedar 34:57 access.cedar: for policy `policy0`, attribute `porpose` in context for Action::"c.v1.Intake/Submit" not found; did you mean `purpose`?',
    ],
  ],
  [
    'Cedar of another type',
    ['resource);', 'resource) when { context.purpose == 3 };'],
    [
      'cedar 34:57 access.cedar: the types Long and String are not compatible; for policy `policy0`, both operands to a `==` expression must have compatible types. Types must be exactly equal to be compatible',
    ],
  ],
  [
    'Cedar that no call can meet',
    ['principal is staff', 'principal is Anyone'],
    [
      'cedar 34:5 access.cedar: warning: for policy `policy0`, policy is impossible: the policy expression evaluates to false for all valid requests',
      'cedar 34:5 access.cedar: warning: for policy `policy0`, unable to find an applicable action given the policy scope constraints',
    ],
  ],
  // several
  [
    'errors of every stage at once',
    [
      ['name: clinic', 'name: Clinic'],
      ['holds: [operational]', 'holds: [operatonal]'],
      ['threshold: 2', 'threshold: 3'],
      ['retention: P30D', 'retention: soon'],
    ],
    [
      'value 3:9 system.name: expected lower-case words joined by -, found "Clinic"',
      'value 16:49 collections.cases.retention: expected an ISO 8601 duration such as "P30D", found "soon"',
      'reference 17:18 collections.ids.holds[0]: no data category "operatonal" is declared; did you mean "operational"?',
      'conflict 55:147 succession.threshold: 3 signatures of 2 signers',
    ],
  ],
  [
    'a refused entry is no dangling reference',
    ['retention: P30D', 'retention: soon'],
    ['value 16:49 collections.cases.retention: expected an ISO 8601 duration such as "P30D", found "soon"'],
  ],
  [
    'an index after a refused entry',
    [
      ['kind: access-logged', 'kind: access-loged'],
      ['data: [personal.health]', 'data: [personal.heath]'],
    ],
    [
      'value 44:22 claims[2].kind: expected "access-logged", "audited-system", "authorised-access", "bounded-resources", "deleted-after-retention", "encryption-at-rest", "local-first", "no-leakage", "no-undisclosed-recipients", "residency", "subprocessors-assured", found "access-loged"; did you mean "access-logged"?',
      'reference 46:76 claims[4].data[0]: no data category "personal.heath" is declared; did you mean "personal.health"?',
    ],
  ],
];
