/**
 * Event logs of a TD, end to end: what firmware wrote and the guest passed on, and what may become of it on the way. Each
 * lie is refused by the layer it names; without the log the same registers are accepted or refused as values.
 */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { connect as tls } from 'node:tls';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { References, Verdict } from '@enclaim/attestation';
import { equalBytes, utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import type { EvidenceErrorCode } from '@enclaim/attestation/errors';
import { EvidenceSchema } from '@enclaim/attestation/evidence';
import { launchCommandLine, rtmr3Records } from '@enclaim/attestation/measure';
import type { RtmrEventReference, TdxReference } from '@enclaim/attestation/references';
import { parseVerdictDocument, verdictDocument } from '@enclaim/attestation/verdict-document';
import { connect, VerdictError, verifySaved } from '@enclaim/client';
import type { BuiltBundle } from '@enclaim/image';
import type { AttestingPlatform } from '@enclaim/runtime';
import { FakeTsmTree } from './fakes/configfs-tsm.ts';
import { agileLog, type Entry } from './fakes/event-log.ts';
import { FakeQuotingEnclave } from './fakes/quoting-enclave.ts';
import { bootEvents, type DomainOptions, eventReferences, FakeTrustDomain } from './fakes/trust-domain.ts';
import { clinicBundle } from './support/app.ts';
import { failing } from './support/refused.ts';
import { type Booted, boot, intelServices, now, referencesFor } from './support/silicon.ts';

const enclave = new FakeQuotingEnclave();
const mrTd = sha384(utf8('mrtd'));
const initrd = digestText('sha384', sha384(utf8('initrd')));
const image = { commandLine: 'quiet panic=-1' };
const END = ' initrd=initrd';

let bundle: BuiltBundle;
let line: string;
let events: ReturnType<typeof bootEvents>;
let reference: TdxReference;
before(async () => {
  bundle = await clinicBundle();
  line = `${launchCommandLine(image, bundle.policy)}${END}`;
  events = bootEvents(line, initrd);
  reference = {
    id: digestText('sha256', sha256(utf8('image'))),
    mrtd: digestText('sha384', mrTd),
    rtmr0: any(eventReferences(events, 0), 'ACPI tables'),
    rtmr1: eventReferences(events, 1),
    initrd,
    ...image,
    commandLineEnd: END,
    rtmr3: 'policy',
  };
});

/** The same events, one of them accepted whatever it is. */
function any(expected: readonly RtmrEventReference[], name: string): RtmrEventReference[] {
  return expected.map((event) => (event.name === name ? { name, digest: 'any' } : event));
}

function domain(options: Partial<DomainOptions> = {}): FakeTrustDomain {
  return new FakeTrustDomain(enclave, { mrTd, events, ...options });
}

function bootDomain(td: FakeTrustDomain, tamper?: (honest: AttestingPlatform) => AttestingPlatform): Promise<Booted> {
  const tree = new FakeTsmTree((data) => td.report(data));
  const { measurements } = td;
  return boot(bundle, tree, { commandLine: line, measurements, ...(tamper === undefined ? {} : { tamper }) });
}

function references(changed: Partial<TdxReference> = {}): References {
  return referencesFor(bundle, enclave.pins, { tdx: [{ ...reference, ...changed }] });
}

interface Shown {
  readonly verdict: Verdict;
  readonly evidence: Uint8Array;
}

/** Connects, or fails with what connecting fails with. */
async function show({ target }: Booted, expected: References = references()): Promise<Shown> {
  const channel = await connect(target, { references: expected, now, collateral: intelServices(enclave) });
  channel.close();
  return channel.attestation;
}

/** The verdict of a connection that is refused by comparison alone. */
async function refusedVerdict(server: Booted, expected?: References): Promise<Verdict> {
  const error = await show(server, expected).then(
    () => assert.fail('was accepted'),
    (reason: unknown) => reason,
  );
  assert(error instanceof VerdictError, String(error));
  return error.verdict;
}

/** Boots this domain, looks, and stops it. */
async function with_<T>(td: FakeTrustDomain, look: (server: Booted) => Promise<T>): Promise<T> {
  const server = await bootDomain(td);
  try {
    return await look(server);
  } finally {
    await server.stop();
  }
}

describe('an honest log', () => {
  let server: Booted;
  before(async () => {
    server = await bootDomain(domain());
  });
  after(() => server.stop());

  test('shows a line for every event, ours included', async () => {
    const { verdict, evidence } = await show(server);
    const shown = verdict.checks.filter(({ id }) => id.includes('.event.'));
    assert.deepEqual(
      shown.map(({ id, outcome, detail }) => `${id} ${outcome} ${detail.split(':')[0]}`),
      [
        'tdx.rtmr0.event.1 passed TD HOB',
        'tdx.rtmr0.event.2 passed SecureBoot',
        'tdx.rtmr0.event.3 passed separator',
        'tdx.rtmr0.event.4 not run ACPI tables',
        'tdx.rtmr1.event.1 passed kernel',
        'tdx.rtmr1.event.2 passed separator',
        'tdx.rtmr1.event.3 passed exit',
        'tdx.rtmr2.event.1 passed cmdline',
        'tdx.rtmr2.event.2 passed initrd',
        'tdx.rtmr3.event.1 passed policy',
        'tdx.rtmr3.event.2 passed app bundle',
      ],
    );
    assert.equal(verdict.checks.find(({ id }) => id === 'quote.events')?.outcome, 'passed');
    parseVerdictDocument(utf8(JSON.stringify(verdictDocument(verdict, { at: now(), asOf: now() }))));
    assert.equal((await verifySaved(evidence, { references: references(), now })).verdict.ok, true);
  });

  test('is not in the certificate, which must stay small', async () => {
    const { evidence } = await show(server);
    const { hardware } = fromBinary(EvidenceSchema, evidence);
    assert(hardware.case === 'tdx' && hardware.value.eventLog.length > 1000);
    const action = utf8('Exit Boot Services Invocation');
    assert.ok(Buffer.from(evidence).includes(action));
    const [host, port] = server.target.split(':');
    const socket = tls({ host, port: Number(port), ALPNProtocols: ['h2'], rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const { raw } = socket.getPeerCertificate();
    socket.destroy();
    assert.ok(raw.includes(hardware.value.quote.subarray(0, 48)), 'the certificate holds evidence');
    assert.equal(raw.includes(action), false);
  });

  test('no byte of it can be changed, cut off or added', async () => {
    const { evidence } = await show(server);
    const message = fromBinary(EvidenceSchema, evidence);
    assert(message.hardware.case === 'tdx');
    const { value } = message.hardware;
    const log = value.eventLog;
    const codes = new Map<string, number>();
    const attempt = async (forged: Uint8Array): Promise<void> => {
      value.eventLog = forged;
      const changed = toBinary(EvidenceSchema, message);
      await assert.rejects(
        verifySaved(changed, { references: references(), now }),
        (error: Error & { code: string }) => {
          assert.equal(error.name, 'EvidenceError');
          codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
          return true;
        },
      );
    };
    const stride = Number(process.env.ENCLAIM_TEST_STRIDE ?? 3);
    for (let at = 0; at < log.length; at += stride) {
      await attempt(Uint8Array.from(log, (byte, index) => (index === at ? byte ^ (1 << (at % 8)) : byte)));
      await attempt(log.subarray(0, at));
    }
    for (const more of [1, 16, 4096]) await attempt(Buffer.concat([log, Buffer.alloc(more, 0xff)]));
    // By layer: not a log; does not lead to the registers; leads there, but is not what the guest found.
    assert.deepEqual([...codes.keys()].sort(), ['binding', 'format', 'log']);
    console.log(`event log of ${log.length} bytes: refused ${JSON.stringify(Object.fromEntries(codes))}`);
  });
});

describe('a log that lies on the way', () => {
  type Change = (entries: readonly Entry[]) => readonly Entry[];
  const at = (name: string): number => events.findIndex((event) => event.name === name);
  const without = (all: readonly Entry[], index: number): Entry[] => all.filter((_, each) => each !== index);
  const put = (all: readonly Entry[], index: number, change: Partial<Entry>): Entry[] =>
    all.map((entry, each) => (each === index ? { ...entry, ...change } : entry));
  const action: Partial<Entry> = { type: 0x8000_0007 };
  const lies: readonly (readonly [string, EvidenceErrorCode, RegExp, Change])[] = [
    ['forged digest', 'log', /RTMR0/, (all) => put(all, at('TD HOB'), { digest: sha384(utf8('forged')) })],
    ['dropped event', 'log', /RTMR1/, (all) => without(all, at('kernel'))],
    ['event taken from the end', 'log', /RTMR3/, (all) => all.slice(0, -1)],
    [
      'added event',
      'log',
      /RTMR2/,
      (all) => [...all, { register: 3, type: 13, data: utf8('more'), banks: ['sha384'] }],
    ],
    ['reordered events', 'log', /RTMR0/, (all) => [...all.slice(0, 2).reverse(), ...all.slice(2)]],
    ['event moved to another register', 'log', /RTMR0/, (all) => put(all, at('SecureBoot'), { register: 2 })],
    [
      'event of a register that is none',
      'log',
      /register 0/,
      (all) => [...all, { register: 0, type: 13, data: utf8('x'), banks: ['sha384'] }],
    ],
    ['type that says it is not extended', 'format', /something other/, (all) => put(all, at('kernel'), { type: 3 })],
    ['another type under the same digest', 'binding', /stated/, (all) => put(all, at('SecureBoot'), action)],
    [
      'data under a digest that is not of it',
      'log',
      /was not measured/,
      (all) => put(all, at('TD HOB'), { data: utf8('a lie') }),
    ],
    [
      'another content of a measured event, its digest kept',
      'log',
      /was not measured/,
      (all) => put(all, at('exit'), { data: utf8('a lie'), digest: sha384(utf8('Exit Boot Services Invocation')) }),
    ],
  ];

  let server: Booted;
  let change: (log: Uint8Array) => Uint8Array = (log) => log;
  before(async () => {
    server = await bootDomain(domain(), (honest) => ({
      ...honest,
      sign: async (root, digest) => {
        const hardware = await honest.sign(root, digest);
        assert(hardware.case === 'tdx' && hardware.value !== undefined);
        return {
          case: 'tdx',
          value: { ...hardware.value, eventLog: change(hardware.value.eventLog ?? new Uint8Array()) },
        };
      },
    }));
  });
  after(() => server.stop());

  /** As the guest recorded it: the firmware's events, then its own two. */
  const honest = (): readonly Entry[] => [
    // Of what was not hashed it keeps nothing.
    ...events.map((event) => (event.digest === undefined ? event : { ...event, data: new Uint8Array() })),
    ...rtmr3Records(bundle.policy, bundle.digest).map(
      (data): Entry => ({ register: 4, type: 13, data, banks: ['sha384'] }),
    ),
  ];

  /** The log's own header, and other events. */
  const anew = (log: Uint8Array, entries: readonly Entry[]): Uint8Array =>
    Buffer.concat([log.subarray(0, 65), agileLog(...entries).subarray(agileLog().length)]);

  test('written anew without a lie is accepted', async () => {
    change = (log) => {
      assert.ok(equalBytes(log, anew(log, honest())));
      return anew(log, honest());
    };
    assert.equal((await show(server)).verdict.ok, true);
  });

  for (const [lie, code, message, forge] of lies) {
    test(`${lie}: ${code}`, async () => {
      change = (log) => anew(log, forge(honest()));
      await assert.rejects(show(server), { name: 'EvidenceError', code, message });
    });
  }

  test('left out: missed, since the statement names it', async () => {
    change = () => new Uint8Array();
    await assert.rejects(show(server), {
      name: 'EvidenceError',
      code: 'binding',
      message: /event log none, stated is sha256/,
    });
  });
});

describe('a log that lied before the guest read it', () => {
  test('does not lead to the registers: the guest does not pass it on, and references that need it refuse', async () => {
    const logged = events.map((event) =>
      event.name === 'kernel' ? { ...event, digest: sha384(utf8('the expected one')) } : event,
    );
    await with_(domain({ logged }), async (server) => {
      const verdict = await refusedVerdict(server);
      assert.deepEqual(failing(verdict.checks), ['tdx.rtmr0']);
      assert.match(verdict.checks.find(({ id }) => id === 'quote.events')?.detail ?? '', /no event log/);
    });
  });

  test('in types and contents that no register bears out changes no verdict', async () => {
    const logged = events.map((event) =>
      event.name === 'TD HOB' ? { ...event, type: 4, data: utf8('EFI_ABSENT') } : event,
    );
    const { verdict, evidence } = await with_(domain({ logged }), show);
    assert.equal(Buffer.from(evidence).includes('EFI_ABSENT'), false, 'nor does the guest pass it on');
    assert.equal(verdict.checks.find(({ id }) => id === 'tdx.rtmr0.event.1')?.detail, 'TD HOB');
  });

  test('does not parse: the guest serves without it, and references that need it refuse', async () => {
    const td = domain();
    const measurements = { ...td.measurements, eventLogArea: async () => utf8('not a log') };
    const tree = new FakeTsmTree((data) => td.report(data));
    const server = await boot(bundle, tree, { commandLine: line, measurements });
    try {
      assert.deepEqual(failing((await refusedVerdict(server)).checks), ['tdx.rtmr0']);
    } finally {
      await server.stop();
    }
  });
});

describe('another launch, truthfully logged', () => {
  const launch = (name: string): readonly (Entry & { name: string })[] =>
    events.map((event) => (event.name === name ? { ...event, digest: sha384(utf8('another')) } : event));

  test('names the event that differs', async () => {
    const verdict = await with_(domain({ events: launch('kernel') }), refusedVerdict);
    assert.deepEqual(failing(verdict.checks), ['tdx.rtmr1', 'tdx.rtmr1.event.1']);
    assert.match(verdict.checks.find(({ id }) => id === 'tdx.rtmr1')?.detail ?? '', /event 1 \(kernel\) differs/);
  });

  test('with an event too many, or one too few, is counted', async () => {
    const [first] = events;
    assert(first !== undefined);
    const more = await with_(domain({ events: [...events, { ...first, name: 'more' }] }), refusedVerdict);
    assert.deepEqual(failing(more.checks), ['tdx.rtmr0', 'tdx.rtmr0.event.more']);
    const less = await with_(domain({ events: events.filter(({ name }) => name !== 'exit') }), refusedVerdict);
    assert.deepEqual(failing(less.checks), ['tdx.rtmr1', 'tdx.rtmr1.event.3']);
  });

  test('where any is accepted is shown, and accepted there alone', async () => {
    await with_(domain({ events: launch('ACPI tables') }), async (server) => {
      const { verdict } = await show(server);
      assert.match(
        verdict.checks.find(({ id }) => id === 'tdx.rtmr0.event.4')?.detail ?? '',
        new RegExp(digestText('sha384', sha384(utf8('another')))),
      );
      assert.match(verdict.checks.find(({ id }) => id === 'tdx.rtmr0')?.detail ?? '', /, any ACPI tables accepted$/);
      const strict = references({ rtmr0: eventReferences(events, 0) });
      assert.deepEqual(failing((await refusedVerdict(server, strict)).checks), ['tdx.rtmr0', 'tdx.rtmr0.event.4']);
    });
  });

  test('by a kernel that cannot extend RTMR3 is accepted where the references say so, and only there', async () => {
    const old = references({ rtmr3: 'zero' });
    await with_(domain({ old: true }), async (server) => {
      assert.equal((await show(server, old)).verdict.ok, true);
      assert.deepEqual(failing((await refusedVerdict(server)).checks).slice(0, 1), ['tdx.rtmr3']);
    });
    await with_(domain(), async (server) => {
      assert.deepEqual(failing((await refusedVerdict(server, old)).checks), ['tdx.rtmr3', 'tdx.rtmr3.event.more']);
    });
  });
});
