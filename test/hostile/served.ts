/** A laboratory behind its server, whole or with edits, for attacks that come over the network. */

import { makeBootKeys } from '../../runtime/src/boot/keys.ts';
import { AttestedServer } from '../../runtime/src/channel/server.ts';
import { type Lab, type LabOptions, openLab } from '../support/lab.ts';
import { type Edits, weakened } from './weakened.ts';

/** Sources of the server, for edits of it: of its whole, of a connection, of exposed methods. */
export const SERVER = 'runtime/src/channel/server.ts';
export const CONNECTION = 'runtime/src/channel/connection.ts';
export const METHODS = 'runtime/src/channel/exposed-methods.ts';

/** A server of the laboratory. */
export interface Served {
  readonly lab: Lab;
  readonly port: number;
  close(): void;
}

/** Serves it. No evidence can be had: what is attacked here comes before and after that. */
export async function serve(
  handlers: LabOptions['handlers'],
  edits: Edits = {},
  options: Partial<LabOptions> = {},
): Promise<Served> {
  const Server: typeof AttestedServer =
    Object.keys(edits).length === 0 ? AttestedServer : (await import(weakened(SERVER, edits))).AttestedServer;
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
