/**
 * The clinic's notice out of a real boot. Runs in network and mount namespaces of its own, where this program is the name
 * server that QEMU asks for the guest. Takes a folder, the image in it, its command line
 * and the path of tools; prints one report.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startMachine } from '@enclaim/image/machine';
import { Client, credentials } from '@grpc/grpc-js';
import { bringUp } from '../../guest/src/linux/link.ts';
import { startNameServer } from '../fakes/name-server.ts';
import { startSubprocessor } from '../fakes/subprocessor.ts';
import { recordsOnDisk } from '../support/log-disk.ts';
import { caseOf, MAILER_NAME, notifyBundle, SUBMIT } from '../support/notify-app.ts';

/** Where QEMU's network has this computer's loopback. */
const HOST = '10.0.2.2';
const [, , folder = '', uki = '', commandLine = '', path = ''] = process.argv;

bringUp('lo');
let address = HOST;
const names = await startNameServer(() => [address], 53);
const mailer = await startSubprocessor({ names: [MAILER_NAME] });
const app = join(folder, 'notify.enclaim');
await writeFile(app, (await notifyBundle(mailer)).bytes);
const stateFolder = join(folder, 'state');
const machine = await startMachine({ app, boot: { kind: 'uki', uki }, commandLine, stateFolder, tools: { path } });

/** The status of one call by a tool, which does not ask who answers: that is tried elsewhere. */
async function submitted(): Promise<number> {
  const tls = credentials.createSsl(null, null, null, { rejectUnauthorized: false });
  const client = new Client(`127.0.0.1:${machine.port}`, tls, { 'grpc.ssl_target_name_override': 'enclaim' });
  const same = (bytes: Buffer): Buffer => bytes;
  const status = await new Promise<number>((resolve) => {
    client.makeUnaryRequest(SUBMIT, same, same, caseOf('jane@example.org'), (error) => resolve(error?.code ?? 0));
  });
  client.close();
  return status;
}

const honest = await submitted();
const received = mailer.received.map(({ path, body }) => [path, body.toString()]);
await mailer.stop();
const impostor = await startSubprocessor({ names: [MAILER_NAME], port: mailer.port });
const deceived = await submitted();
address = '127.0.0.1';
const ledBack = await submitted();
await machine.stop();
names.stop();
await impostor.stop();

const records = await recordsOnDisk(join(stateFolder, 'state.img'));
const said = {
  statuses: { honest, deceived, ledBack },
  received,
  impostor: { connections: impostor.connections(), received: impostor.received.length },
  asked: [...names.asked],
  records: records
    .filter(({ sink, figures }) => sink === 'send:mailer' || figures['denied:send:mailer'] === 1)
    .map(({ decision, reason, claims }) => ({
      decision,
      reason,
      claim: claims.find((id) => id === 'no-sharing') ?? null,
    })),
};
console.log(`report:${JSON.stringify(said)}`);
process.exit(0);
