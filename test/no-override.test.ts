/**
 * No override flag: everything that the guest and the runtime read from outside themselves, by the places in their source where
 * it is read. A new place fails here, and is to be argued for; it is never to make the limit wider.
 */

import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..');
const sources = new Map(
  // What runs an app without a VM is in no image (test/dev.test.ts).
  globSync('{guest,runtime}/src/**/*.ts', { cwd: root, exclude: ['**/gen/**', 'runtime/src/dev/**'] })
    .sort()
    .map((file) => [file, withoutComments(readFileSync(join(root, file), 'utf8'))]),
);

/** Paths in the sources, `$` standing for what is filled in: mounts, devices, the image's own files, the kernel's. */
const FILES: readonly string[] = [
  '/dev',
  '/dev/$',
  '/dev/null',
  '/dev/tdx_guest',
  '/dev/tpmrm0',
  '/enclaim/modules.json',
  '/enclaim/release',
  '/enclaim/runtime.mjs',
  '/enclaim/worker.mjs',
  '/lib/x86_64-linux-gnu',
  '/lib64',
  '/proc',
  '/proc/$/stat',
  '/proc/cmdline',
  '/proc/net/if_inet6',
  '/proc/net/ipv6_route',
  '/proc/pressure',
  '/proc/self/limits Max core file size',
  '/proc/self/status CapBnd:',
  '/proc/self/status NoNewPrivs:',
  '/proc/self/task/$/children',
  '/proc/swaps',
  '/proc/sys/',
  '/proc/sys/kernel/modules_disabled',
  '/proc/sys/net/ipv6/conf/$/$',
  '/proc/thread-self/ns/$',
  '/run',
  '/run/enclaim',
  '/run/jail',
  '/sys',
  '/sys/',
  '/sys/class/block',
  '/sys/class/misc/hw_random/rng_current',
  '/sys/class/misc/tdx_guest/measurements/rtmr3:sha384',
  '/sys/class/thermal',
  '/sys/firmware/acpi/tables/data/CCEL',
  '/sys/fs/cgroup',
  '/sys/kernel/config',
  '/sys/kernel/config/tsm/report',
  '/sys/kernel/debug',
  '/sys/kernel/kexec_loaded',
  '/sys/kernel/security',
  '/sys/kernel/security/lockdown',
  '/sys/module/module/parameters/sig_enforce',
  '/sys/module/page_alloc/parameters/shuffle',
  '/sys/module/pstore/parameters/backend',
  '/sys/power/disk',
  '/tmp',
  '/usr/bin/node',
];

/** Comments name what is not read. Strings keep their slashes: only whole lines and blocks at their start go. */
function withoutComments(text: string): string {
  return text.replace(/^\s*\/\*[\s\S]*?\*\//gm, '').replace(/^\s*\/\/.*$/gm, '');
}

/** What a pattern's first group finds anywhere, without repetition. */
function found(pattern: RegExp): string[] {
  const all = [...sources.values()].flatMap((text) => [...text.matchAll(pattern)].map(([, name = '']) => name));
  return [...new Set(all)].sort();
}

test('environment: one variable is set, none is read', () => {
  assert.deepEqual(found(/\b(env(?:\.[A-Za-z_]+|\[[^\]]+\]))/g), ['env.TZ']);
  assert.deepEqual(found(/(process\.env\.TZ)(?! = 'UTC')/g), []);
});

test('arguments and standard input: none are read', () => {
  assert.deepEqual(found(/process\.(argv0?|execArgv|stdin|title|features|config)\b/g), []);
  assert.deepEqual(found(/\b(parseArgs|getOptionValue)\b/g), []);
});

test('kernel command line: the policy and the network', () => {
  const text = sources.get('guest/src/linux/command-line.ts') ?? '';
  const keys = ['dns', 'ip', 'ip6', 'policy'];
  assert.deepEqual([...text.matchAll(/FIELDS\.([a-z0-9]+)/g)].map(([, name]) => name).sort(), keys);
  assert.deepEqual([...text.matchAll(/read\('([a-z0-9]+)'/g)].map(([, name]) => name).sort(), keys);
});

test('files: what is mounted, measured, and the kernel’s own', () => {
  assert.deepEqual(
    found(/['`](\/(?:dev|proc|sys|run|tmp|etc|usr|lib|lib64|enclaim|home|var|mnt|boot|root|opt)[^'`]*)['`]/g).map(
      (path) => path.replace(/\$\{[^}]*\}/g, '$'),
    ),
    FILES,
  );
});

test('RPCs: health, reflection, the log, secrets, successions, kept keys and what the policy exposes; what the runtime may ask its supervisor', () => {
  assert.deepEqual(found(/(?<!function )\bservedMethod\(([^,]+),/g), [
    'ServerReflection.method.serverReflectionInfo',
    'addCosignatures',
    'advance',
    'challenge',
    'check',
    'getCheckpoint',
    'getEntries',
    'getProof',
    'getQuote',
    'getTile',
    'hand',
    'list',
    'method.descriptor',
    'put',
    'release',
    'remove',
    'show',
    'watch',
  ]);
  const messages = [...sources].find(([file]) => file === 'runtime/src/control.ts')?.[1] ?? '';
  assert.deepEqual([...messages.matchAll(/kind: z\.literal\('([a-z]+)'\)/g)].map(([, kind]) => kind).sort(), [
    'activate',
    'advance',
    'bequeath',
    'drained',
    'end',
    'epoch',
    'heir',
    'inherit',
    'open',
    'quote',
    // Gives no key: it puts a mark into the boot statement, which says less of the boot than `kept`.
    'recover',
    'refused',
    'resume',
    'retire',
    'seal',
    'serving',
    'start',
    'state',
  ]);
});

test('ways out: connections begin in the egress broker, and at a TPM of the tests', () => {
  const imported =
    /import (?!type )([^;]*?) from '(?:node:(?:net|tls|https?|http2|dgram|dns(?:\/promises)?)|@grpc\/grpc-js)'/g;
  const beginning = /\b(?:connect|request|get|createSocket|Resolver|Client|Channel)\b|\*|^\w/;
  assert.deepEqual(
    [...sources]
      .filter(
        ([, text]) =>
          /\bfetch\(/.test(text) || [...text.matchAll(imported)].some(([, names = '']) => beginning.test(names)),
      )
      .map(([file]) => file),
    [
      'guest/src/linux/dhcp.ts', // datagrams, before there is a runtime
      'guest/src/tpm/transport.ts', // a socket in place of the device; the supervisor opens the device
      'runtime/src/egress/broker.ts',
      'runtime/src/egress/grpc.ts',
      'runtime/src/egress/http.ts',
      'runtime/src/egress/keeper-link.ts', // to the machine that the policy has keep the keys
      'runtime/src/egress/peer.ts',
      'runtime/src/egress/resolver.ts',
    ],
  );
});

test('no name promises a way around', () => {
  const suspicious = /\b(?:skip|disable|bypass|override|insecure|unsafe|debug|force|trustAll|noVerify)[A-Z]\w*/g;
  assert.deepEqual(
    [...sources].flatMap(([file, text]) => (text.match(suspicious) ?? []).map((name) => `${file}: ${name}`)),
    // References of peers that name such keys are refused there.
    ['runtime/src/admission/peer-references.ts: unsafeSimulatedKeys'],
  );
});
