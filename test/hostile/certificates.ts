/** Attacks on client certificates of subprocessors: a stranger at the address who would learn one. */

import type { Subprocessor } from '@enclaim/policy-schema/admission';
import * as broker from '../../runtime/src/egress/broker.ts';
import { VolatileVault } from '../../runtime/src/egress/vault.ts';
import { FakeIdentity } from '../fakes/certificates.ts';
import { startSubprocessor } from '../fakes/subprocessor.ts';
import { fakeClient } from '../support/client-certificate.ts';
import type { Attack } from './attack.ts';
import { onSource, passes } from './source-attack.ts';

const BROKER = { path: 'runtime/src/egress/broker.ts' as const, whole: broker };
const NAME = 'mailer-certificate';

/** Whether a server that is not the one of the policy sees the certificate that this one is to be shown. */
async function learns({ EgressBroker }: typeof broker): Promise<boolean> {
  const authority = new FakeIdentity('maker of clients', 'ecdsa-sha256');
  const stranger = await startSubprocessor({ clients: { authority, demands: false } });
  const vault = new VolatileVault(Date.now);
  await vault.put(NAME, Buffer.from(fakeClient(authority).pem));
  const mailer = {
    ...{ description: '', address: `https://mail.example:${stranger.port}`, region: 'r', receives: [], calls: [] },
    identity: { spki: [`sha256/${'A'.repeat(43)}=`] },
    ...{ assurance: 'none', credential: { certificate: NAME } },
  } as Subprocessor;
  const resolve = async (): Promise<string[]> => ['127.0.0.1'];
  const egress = new EgressBroker({ subprocessors: { mailer }, resolve, vault, now: Date.now });
  const call = { verb: 'POST', path: '/v1/send' } as const;
  await passes(() => egress.send('mailer', call, Buffer.from('{}'), new AbortController().signal));
  await stranger.idle();
  const isSeen = stranger.shown.length > 0;
  await stranger.stop();
  return isSeen;
}

/** Attacks on client certificates. */
export const certificateAttacks: readonly Attack[] = [
  onSource(BROKER, 'answer at an address to see a certificate', 'certificates wait for the peer', learns),
];
