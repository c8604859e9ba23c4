/** What leaves a booted VM: through its own firewall, by the host's name server, to whoever has the pinned key. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { before, test } from 'node:test';
import { projectRoot, writeImage } from '@enclaim/image';
import { findTools } from '@enclaim/image/machine';
import { shippedImage } from '../support/shipped-image.ts';
import { withoutFirmware } from './guest-image.ts';

// biome-ignore lint/suspicious/noExplicitAny: what the other program printed; each test asserts its part
let report: any;

/** Namespaces of users, mounts and networks: the loopback in there is nobody else's. */
const INSIDE = 'mount --bind "$1/resolv.conf" /etc/resolv.conf && shift && exec "$@"';

before(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-egress-'));
  try {
    await writeFile(join(folder, 'resolv.conf'), 'nameserver 127.0.0.1\n');
    await findTools(); // fetched here: from within its own network nothing can be
    const image = await shippedImage();
    await writeImage(image, join(folder, 'image'));
    const { artefacts, references } = image.manifest;
    const uki = join(folder, 'image', artefacts.uki.file);
    // Nothing here depends on what was measured.
    const { path = '' } = await withoutFirmware(folder, artefacts);
    const words = [folder, uki, references.tpm.commandLine, path];
    const program = [process.execPath, 'test/vm/egress-in-namespace.ts', ...words];
    const argv = ['--map-root-user', '--mount', '--net', 'sh', '-c', INSIDE, 'sh', folder, ...program];
    const child = spawn('unshare', argv, { cwd: projectRoot, stdio: ['ignore', 'pipe', 'pipe'] });
    const [out, complaints] = await Promise.all([text(child.stdout), text(child.stderr)]);
    const [, json] = /^report:(.*)$/m.exec(out) ?? assert.fail(`${out}${complaints}`);
    report = JSON.parse(json ?? '');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a patient gets word out of the VM, and nothing else leaves', () => {
  assert.equal(report.statuses.honest, 0);
  assert.deepEqual(report.received, [['/v1/send', '{"template":"case-received","to":"jane@example.org"}']]);
});

test('who has another key at that very address gets a handshake and no byte', () => {
  assert.equal(report.statuses.deceived, 14);
  assert.deepEqual(report.impostor, { connections: 1, received: 0 });
});

test('a name server that leads back into the VM is not followed', () => {
  assert.equal(report.statuses.ledBack, 14);
  assert.deepEqual(report.asked, ['mail.example.eu']);
});

test('each is in the log on the disk', () => {
  const claim = 'no-sharing';
  const sent = { decision: 'allow', reason: 'release notify of privacy@clinic.example', claim };
  assert.deepEqual(report.records, [
    sent,
    sent,
    { decision: 'error', reason: 'peer /subprocessors/mailer/identity', claim },
    sent,
    { decision: 'error', reason: 'peer', claim },
  ]);
});
