/** Notes of the manual on each command, beside its options: an example, exit statuses, JSON. */

import type { EXIT } from '../exit-status.ts';
import type { Shape } from './shape.ts';

/** The note of one command. */
export interface Note {
  /** A call of it, as typed into a shell. */
  readonly example: string;
  /** Exit statuses that it may end with beside `ok` and `usage`. */
  readonly ends: readonly Exclude<keyof typeof EXIT, 'ok' | 'usage'>[];
  /** JSON that it prints on stdout. */
  readonly json?: Shape;
  /** When that JSON is another. */
  readonly jsonElse?: string;
  /** The document that describes its JSON, if that has one of its own. */
  readonly jsonPage?: string;
  /** Whether it prints JSON without being asked to by `--json`. */
  readonly always?: true;
}

const PLACE: Shape = { file: 'text', 'line?': 'number', 'column?': 'number' };
const TAKEN: Readonly<Record<string, Shape>> = { from: 'text', 'commit|null': 'text' };
const CHECKED: Shape = {
  ok: 'boolean',
  'compared|null': {
    policy: 'text',
    'protos?': 'text',
    rules: 'number',
    methods: 'number',
    exposed: 'number',
    outbound: 'number',
  },
  findings: [{ level: 'error|warning|note', code: 'text', message: 'text', at: PLACE, 'policy?': PLACE }],
};
const RESULT: Shape = {
  test: { name: 'text', method: 'text', sink: 'text', expect: 'allow|deny', '*': 'anything' },
  ok: 'boolean',
  decision: { allow: 'boolean', code: 'text', reason: 'text', pointer: 'text' },
  line: 'number',
};
const KEY: Shape = { key: 'text' };
const CHECKPOINT: Readonly<Record<string, Shape>> = {
  origin: 'text',
  size: 'number',
  root: 'text',
  key: 'text',
  began: 'number',
  minimum: 'number',
  note: 'text',
};
/** The header of an exported state. */
const STATE: Shape = {
  ...{ enclaim: 'state/1', made: 'text', source: 'folder|disk', capacity: 'number', blocks: 'number' },
  log: { size: 'number', root: 'text', minimum: 'number' },
  'newest|null': { time: 'text', system: 'text', policy: 'text' },
  epochs: ['number|null'],
  'launch|null': { image: 'text', commandLine: 'text' },
};
/** A range of records of a log. */
const RECORDS: Shape = { first: 'number', last: 'number', count: 'number' };
const READ_LOG = 'intake.example:443 --references references.json';
const VERIFIED_BY = '--log-key example.com/releases+…';

/** Notes by the words of a command. */
export const NOTES: Readonly<Record<string, Note>> = {
  init: { example: 'enclaim init notes', ends: [] },
  gen: { example: 'enclaim gen notes', ends: ['refused'] },
  check: {
    example: 'enclaim check notes',
    ends: ['refused'],
    json: CHECKED,
    jsonElse: 'Of several staged apps it is { ok: boolean, apps: […] }, with one of these for each.',
  },
  diff: {
    example: 'enclaim diff main --fail-on weaker',
    ends: ['refused', 'unavailable'],
    json: {
      verdict: 'equal|stronger|weaker|incomparable|first',
      'from|null': 'text',
      to: 'text',
      changes: [{ verdict: 'equal|stronger|weaker|incomparable', aspect: 'text', pointer: 'text', sentence: 'text' }],
    },
  },
  test: {
    example: 'enclaim test notes',
    ends: ['refused'],
    json: { ok: 'boolean', results: [RESULT] },
    jsonElse: 'Of several staged apps it is { ok: boolean, apps: […] }, with policy, ok and results for each.',
  },
  'policy digest': { example: 'enclaim policy digest app.enclaim', ends: ['refused', 'unavailable'] },
  'policy show': { example: 'enclaim policy show notes/policy.yaml', ends: ['refused', 'unavailable'] },
  'policy schema': { example: 'enclaim policy schema > policy.schema.json', ends: [] },
  'policy interfaces': {
    example: 'enclaim policy interfaces notes/proto',
    ends: ['refused'],
    json: { '*': 'text' },
  },
  'policy succession propose': {
    example: `enclaim policy succession propose ${READ_LOG} --policy notes/policy.yaml --ip 10.0.0.7/24`,
    ends: ['refused', 'unavailable', 'answered'],
  },
  'policy succession sign': {
    example: 'enclaim policy succession sign succession.json --key signer.pem --references references.json',
    ends: ['refused'],
  },
  'policy succession hand': {
    example: `enclaim policy succession hand ${READ_LOG} --file succession.json`,
    ends: ['refused', 'unavailable', 'answered'],
    json: { due: 'text', handed: 'boolean' },
  },
  'policy succession show': {
    example: `enclaim policy succession show ${READ_LOG}`,
    ends: ['refused', 'unavailable', 'answered'],
    jsonPage: 'docs/reference/formats.md',
  },
  'policy explain': {
    example: 'enclaim policy explain no-undisclosed-recipients notes/policy.yaml',
    ends: ['refused', 'unavailable'],
    json: {
      policy: 'text',
      claims: [
        {
          id: 'text',
          kind: 'text',
          statement: 'text',
          strength: 'measured|enforced|observed|asserted',
          parts: [{ part: 'text', strength: 'measured|enforced|observed|asserted' }],
          data: 'anything',
          covers: 'text',
          controls: ['text'],
        },
      ],
      '*': 'anything',
    },
  },
  'key new': { example: 'enclaim key new owner.pem --public owner.pub.pem', ends: [], json: KEY },
  'key show': { example: 'enclaim key show owner.pub.pem', ends: [], json: KEY },
  'image build': { example: 'enclaim image build -o out/image', ends: ['refused', 'unavailable'] },
  'image disk': {
    example: 'enclaim image disk app.enclaim --for gcp',
    ends: ['refused'],
    always: true,
    json: {
      file: 'text',
      size: 'number',
      image: 'text',
      policy: 'text',
      bundle: 'text',
      gpt: ['text'],
      partitions: [{ name: 'text', type: 'text', id: 'text', offset: 'number', size: 'number' }],
    },
  },
  'image ls': {
    example: 'enclaim image ls out/image',
    ends: ['refused'],
    json: {
      sections: [{ name: 'text', size: 'number', sha256: 'text', from: 'text', reason: 'text' }],
      contents: [
        {
          path: 'text',
          type: 'file|directory|symlink',
          mode: 'text',
          size: 'number',
          'sha256|null': 'text',
          from: 'text',
          reason: 'text',
        },
      ],
    },
  },
  'image measure': {
    example: 'enclaim image measure out/image --platform snp --bundle app.enclaim',
    ends: ['refused'],
    always: true,
    jsonPage: 'docs/operate/image.md',
  },
  'image firmware': {
    example: 'enclaim image firmware --platform snp -o OVMF.fd',
    ends: ['refused', 'unavailable'],
  },
  'image inputs': {
    example: 'enclaim image inputs --save archive',
    ends: ['refused', 'unavailable'],
    json: [
      {
        kind: 'deb|npm',
        name: 'text',
        version: 'text',
        size: 'number',
        sha256: 'text',
        uses: ['text'],
        'found|null': 'text',
        failures: [{ place: 'text', reason: 'text' }],
        '*': 'anything',
      },
    ],
  },
  'image lock': {
    example: 'enclaim image lock --update',
    ends: ['refused', 'unavailable'],
    json: { inputs: [{ name: 'text', version: 'text' }] },
    jsonElse: 'With --update it is { changes: [{ name, from, to }] }.',
  },
  bundle: {
    example: 'enclaim bundle notes -o app.enclaim',
    ends: ['refused'],
    json: { policy: 'text', bundle: 'text', exposed: ['text'], withheld: [{ method: 'text', reasons: ['text'] }] },
  },
  dev: { example: 'enclaim dev notes --port 8443', ends: ['refused'] },
  run: {
    example: 'enclaim run app.enclaim --state state --port 8443',
    ends: ['refused', 'unavailable', 'interrupted'],
    json: { address: 'text', 'softwareTpm|null': { root: 'text', issuer: 'text' } },
  },
  references: {
    example:
      'enclaim references --manifest out/image/manifest.json --bundle app.enclaim --vendor amd -o references.json',
    ends: ['refused'],
  },
  'release init': {
    example: 'enclaim release init --log log --key log.pem --origin example.com/releases',
    ends: ['refused'],
  },
  'release add': {
    example: 'enclaim release add --log log --key log.pem out/image/manifest.json',
    ends: ['refused'],
  },
  'release state': {
    example: 'enclaim release state --log log --key log.pem policy.yaml',
    ends: ['refused'],
  },
  'release check': {
    example: `enclaim release check log ${VERIFIED_BY}`,
    ends: ['refused'],
    json: { origin: 'text', size: 'number', 'continues|null': 'number', releases: ['text'] },
  },
  'release verify': {
    example: `enclaim release verify manifest.json ${VERIFIED_BY}`,
    ends: ['refused'],
    json: { release: 'text', origin: 'text', size: 'number' },
  },
  'release demand': {
    example: `enclaim release demand references.json --log log ${VERIFIED_BY} -o logged.json`,
    ends: ['refused'],
  },
  'corim sign': {
    example:
      'enclaim corim sign references.json --key us.pem --signer Us --not-after 2027-01-01T00:00:00Z -o references.corim',
    ends: ['refused'],
  },
  'corim read': {
    example: 'enclaim corim read references.corim --key us.pub.pem -o references.json',
    ends: ['refused'],
  },
  'witness init': {
    example: 'enclaim witness init witness --name example.com/witness',
    ends: ['unavailable'],
    json: { name: 'text', witnesses: [{ name: 'text', key: 'text' }] },
  },
  'witness serve': {
    example: 'enclaim witness serve witness --log example.com/releases+… --listen 127.0.0.1:8080',
    ends: ['unavailable'],
    json: { address: 'text' },
  },
  'witness ask': {
    example: `enclaim witness ask releases ${VERIFIED_BY} --policy witnesses.policy`,
    ends: ['refused', 'unavailable'],
    json: { reached: 'boolean', quorum: 'text', failures: [{ code: 'text', message: 'text' }] },
  },
  'deployment sign': {
    example:
      'enclaim deployment sign --key owner.pem --policy policy.yaml --device ek:sha256:… --not-after 2027-01-01T00:00:00Z -o deployment.json',
    ends: ['refused'],
  },
  call: {
    example: `enclaim call 127.0.0.1:8443 notes.v1.Notes/Put -d '{"text":"hello"}' --references references.json`,
    ends: ['refused', 'unavailable', 'answered'],
  },
  proxy: {
    example: "enclaim proxy intake.example:443 --references references.json --require 'claim access-logged'",
    ends: ['refused', 'unavailable'],
    json: { address: 'text' },
  },
  'log checkpoint': {
    example: `enclaim log checkpoint ${READ_LOG}`,
    ends: ['refused', 'unavailable', 'answered'],
    json: CHECKPOINT,
  },
  'log tiles': {
    example: `enclaim log tiles ${READ_LOG} --to log --entries --reader reader.pem`,
    ends: ['refused', 'unavailable', 'answered'],
    json: { ...CHECKPOINT, written: 'number' },
  },
  'log entries': {
    example: `enclaim log entries ${READ_LOG} --reader reader.pem --from 1000`,
    ends: ['refused', 'unavailable', 'answered'],
    json: { index: 'number', leaf: 'text', record: 'anything' },
    jsonElse: 'One of these a line.',
  },
  'log proof': {
    example: `enclaim log proof ${READ_LOG} --index 7 -o 7.enclaim-proof`,
    ends: ['refused', 'unavailable', 'answered'],
  },
  'log receipt': {
    example: 'enclaim log receipt --copy log --index 7 -o 7.cose',
    ends: ['refused', 'unavailable', 'answered'],
  },
  'log deletion': {
    example:
      'enclaim log deletion deleted.enclaim-receipt --references references.json --copy log --place cases/case-1',
    ends: ['refused'],
    json: {
      ...{ ok: 'boolean', kind: 'deleted|past retention' },
      'places?': [{ collection: 'text', key: 'text' }],
      'collection?': 'text',
      ...{ method: 'text', index: 'number', record: 'text', end: 'text' },
      'final|null': {
        ...{ epoch: 'number', records: 'number', until: 'text', index: 'number', record: 'text', time: 'text' },
        'quoted|null': 'boolean',
      },
    },
  },
  'log disk': {
    example: 'enclaim log disk state/state.img --seen log --references references.json',
    ends: ['refused'],
    json: {
      ...{ size: 'number', root: 'text', first: 'number', uncompared: ['number'] },
      faults: [{ part: 'text', message: 'text' }],
      appraised: 'boolean',
      'bootless|null': RECORDS,
      boots: [
        {
          ...{ boot: 'text', began: 'number', 'quoted|null': RECORDS, 'unquoted|null': RECORDS },
          'verdict|null': { platform: 'text', policy: 'text', ok: 'boolean' },
        },
      ],
      quotes: [{ at: 'text', kind: 'damaged|uncompared|refused', message: 'text' }],
      omitted: 'number',
    },
  },
  'log boots': {
    example: `enclaim log boots ${READ_LOG}`,
    ends: ['refused', 'unavailable', 'answered'],
    json: {
      ...{ boot: 'text', origin: 'text', began: 'number', size: 'number', root: 'text', uncovered: 'number' },
      ...{ platform: 'text', policy: 'text', ok: 'boolean', note: 'text' },
    },
    jsonElse: 'One of these a line.',
  },
  'log watch': {
    example: `enclaim log watch ${READ_LOG} --count 1`,
    ends: ['refused', 'unavailable', 'answered'],
    json: CHECKPOINT,
    jsonElse: 'One of these a line.',
  },
  'log courier': {
    example: `enclaim log courier ${READ_LOG} --witnesses witnesses.policy`,
    ends: ['refused', 'unavailable', 'answered'],
    json: { size: 'number', reached: 'boolean', 'cosigned?': 'number', 'mirrored?': 'number' },
    jsonElse: 'One of these a line.',
  },
  'state export': {
    example: 'enclaim state export state --to monday.enclaim-state',
    ends: ['refused', 'unavailable'],
    json: STATE,
  },
  'state import': {
    example: 'enclaim state import monday.enclaim-state --to state --seen log --references references.json',
    ends: ['refused', 'unavailable'],
    json: STATE,
  },
  'state recovery propose': {
    example: 'enclaim state recovery propose snapshot.enclaim-state -o recovery.json',
    ends: ['refused'],
  },
  'state recovery sign': {
    example:
      'enclaim state recovery sign recovery.json --key signer.pem --state snapshot.enclaim-state --policy notes/policy.yaml',
    ends: ['refused'],
  },
  'state show': { example: 'enclaim state show monday.enclaim-state', ends: ['refused'], json: STATE },
  'secret put': {
    example: `enclaim secret put ${READ_LOG} mailer-token --key owner.pem --file mailer-token`,
    ends: ['refused', 'unavailable', 'answered'],
    json: { name: 'text', rotated: 'boolean' },
  },
  'secret remove': {
    example: `enclaim secret remove ${READ_LOG} mailer-token --key owner.pem`,
    ends: ['refused', 'unavailable', 'answered'],
    json: { name: 'text', removed: 'boolean' },
  },
  'secret list': {
    example: `enclaim secret list ${READ_LOG} --key owner.pem`,
    ends: ['refused', 'unavailable', 'answered'],
    json: { secrets: [{ name: 'text', 'since|null': 'text' }] },
  },
  verify: {
    example: 'enclaim verify note.enclaim-receipt --references references.json --json',
    ends: ['refused'],
    jsonPage: 'docs/reference/formats.md',
    jsonElse: 'Without a verdict it is { ok: false, error: { name: text, code: text | null, message: text } }.',
  },
  audit: {
    example: 'enclaim audit https://example.com/enclaim.git#v1 --against manifest.json',
    ends: ['refused', 'different', 'unavailable', 'interrupted'],
    json: {
      image: 'text',
      source: { ...TAKEN, digest: 'text' },
      'app|null': { ...TAKEN, digest: 'text' },
      isolation: { offline: 'boolean', otherUser: 'boolean' },
      ok: 'boolean',
      claims: [
        {
          claim: 'text',
          ok: 'boolean',
          differences: [{ component: 'text', 'claimed|null': 'text', 'rebuilt|null': 'text', because: ['text'] }],
        },
      ],
    },
  },
  'statement verify': {
    example: 'enclaim statement verify audit.json --key ed25519:… --property ENCLAIM_IMAGE_REPRODUCED',
    ends: ['refused'],
  },
  completion: { example: 'source <(enclaim completion bash)', ends: [] },
  help: { example: 'enclaim help exit-statuses', ends: [] },
};
