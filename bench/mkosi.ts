/**
 * `node bench/mkosi.ts [-o FILE]`: a Debian image by mkosi, to compare sizes and boots with
 * (`bench/boot.ts --debian FILE`).
 *
 * The image is a UKI that serves the bench's hello with the same Node. The script needs mkosi 25 or
 * later on the path, root and a Debian mirror; if it cannot run, it says why.
 */
import { spawnSync } from 'node:child_process';
import { chmod, copyFile, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { parsePe } from '@enclaim/attestation/measure';
import { aptMirrors } from '../image/src/inputs/mirror.ts';
import { scratchFolder } from './scratch.ts';

const { values } = parseArgs({ options: { out: { type: 'string', short: 'o', default: 'out/debian.efi' } } });

/**
 * Configuration as a careful operator would write it for one Node service; nothing is left out that
 * Debian needs to boot.
 */
const CONFIG = `[Distribution]
Distribution=debian
Release=trixie

[Output]
Format=uki
Output=debian

[Build]
SandboxTrees=mkosi.sandbox
ToolsTree=default
ToolsTreeDistribution=debian
ToolsTreeRelease=trixie
ToolsTreeSandboxTrees=mkosi.sandbox

[Content]
Packages=linux-image-cloud-amd64
         systemd
         systemd-boot-efi
         udev
         libatomic1
         libstdc++6
Bootable=yes
Bootloader=uki
CleanPackageMetadata=yes
WithDocs=no
KernelCommandLine=console=ttyS0 quiet
`;
const SERVICE = `[Unit]
After=network.target
[Service]
ExecStart=/usr/local/bin/node /srv/hello.mjs
StandardOutput=file:/dev/console
Restart=on-failure
`;
const HELLO = `import { createServer } from 'node:http';
createServer((_, response) => response.end('hello')).listen(50051, () => console.log('\\nenclaim: serving'));
`;

const found = spawnSync('mkosi', ['--version'], { encoding: 'utf8' });
const version = Number(/^mkosi (\d+)/.exec(found.stdout ?? '')?.[1] ?? 0);
const [mirror] = await aptMirrors();
if (version < 25) giveUp(`mkosi 25 or later is not on the path${version > 0 ? `, it is ${version}` : ''}`);
else if (process.getuid?.() !== 0) giveUp('mkosi installs packages as root');
else if (mirror === undefined) giveUp('apt names no Debian mirror here');
else await build(mirror);

function giveUp(why: string): void {
  console.log(`not run: ${why}`);
}

async function build(base: string): Promise<void> {
  const folder = await scratchFolder();
  try {
    await layOut(folder, base);
    const began = performance.now();
    const { status } = spawnSync('mkosi', ['-C', folder, 'build'], { stdio: ['ignore', 'ignore', 'inherit'] });
    if (status !== 0) return giveUp(`mkosi ended with status ${status}`);
    const uki = await readFile(join(folder, 'debian.efi'));
    await mkdir(dirname(values.out), { recursive: true });
    await copyFile(join(folder, 'debian.efi'), values.out);
    console.log(
      `${values.out}: ${mebibytes(uki.length).trim()} in ${((performance.now() - began) / 1000).toFixed(0)} s`,
    );
    for (const { name, virtualSize } of parsePe(uki).sections) {
      if (virtualSize > 1 << 20) console.log(`${mebibytes(virtualSize)}  ${name}`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function layOut(folder: string, base: string): Promise<void> {
  const wants = 'etc/systemd/system/multi-user.target.wants';
  const sources = `Types: deb\nURIs: ${base}\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n`;
  const files = {
    'mkosi.conf': CONFIG,
    'mkosi.sandbox/etc/apt/sources.list.d/mkosi.sources': sources,
    'mkosi.extra/srv/hello.mjs': HELLO,
    'mkosi.extra/etc/systemd/system/hello.service': SERVICE,
    'mkosi.extra/etc/systemd/network/80-all.network': '[Match]\nName=e*\n[Network]\nDHCP=ipv4\n',
    [`mkosi.extra/${wants}/.keep`]: '',
    'mkosi.extra/usr/local/bin/node': await readFile(process.execPath),
  };
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  await chmod(join(folder, 'mkosi.extra/usr/local/bin/node'), 0o755);
  await symlink('../hello.service', join(folder, `mkosi.extra/${wants}/hello.service`));
  await symlink(
    '/lib/systemd/system/systemd-networkd.service',
    join(folder, `mkosi.extra/${wants}/systemd-networkd.service`),
  );
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1).padStart(7)} MiB`;
}
