/** A laboratory behind its server, whole or with layers off, for attacks that come over the network. */

import { makeBootKeys } from '../../runtime/src/boot/keys.ts';
import { AttestedServer } from '../../runtime/src/channel/server.ts';
import { type Lab, type LabOptions, openLab } from '../support/lab.ts';
import { type Weakness, weakened } from './weakened.ts';

/** The source of the server. */
export const SERVER = 'runtime/src/channel/server.ts';

/** A server of the laboratory. */
export interface Served {
  readonly lab: Lab;
  readonly port: number;
  close(): void;
}

/** Serves it. No evidence can be had: what is attacked here comes before and after that. */
export async function serve(
  handlers: LabOptions['handlers'],
  weakness: Weakness = {},
  options: Partial<LabOptions> = {},
): Promise<Served> {
  const Server: typeof AttestedServer =
    Object.keys(weakness).length === 0 ? AttestedServer : (await import(weakened(SERVER, weakness))).AttestedServer;
  const lab = await openLab({ handlers, ...options });
  const keys = makeBootKeys();
  const tls = { key: keys.tls.key, certificate: keys.certificate(new Uint8Array()) };
  const server = new Server({ tls, admission: lab.admission, calls: lab.calls, attested: {} as never });
  const port = await server.listen('127.0.0.1', 0);
  server.serve();
  return {
    lab,
    port,
    close: () => {
      void server.close();
      lab.close();
    },
  };
}
