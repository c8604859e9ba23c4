/** A laboratory behind its server, whole or with edits, for attacks that come over the network. */

import { makeBootKeys } from '../../runtime/src/keys.ts';
import { AttestedServer } from '../../runtime/src/server.ts';
import { type Lab, type LabOptions, openLab } from '../support/lab.ts';
import { type Edit, weakened } from './weakened.ts';

/** What of the server is changed: in itself, and in the handshake before HTTP/2. */
export interface ServerEdits {
  readonly server?: readonly Edit[];
  readonly handshake?: readonly Edit[];
}

/** A server of the laboratory. */
export interface Served {
  readonly lab: Lab;
  readonly port: number;
  close(): void;
}

/** Serves it. No evidence can be had: what is attacked here comes before and after that. */
export async function serve(
  handlers: LabOptions['handlers'],
  edits: ServerEdits = {},
  options: Partial<LabOptions> = {},
): Promise<Served> {
  const lab = await openLab({ handlers, ...options });
  const keys = makeBootKeys();
  const tls = { key: keys.tls.key, certificate: keys.certificate(new Uint8Array()) };
  const Server = await serverOf(edits);
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

async function serverOf({ server = [], handshake = [] }: ServerEdits): Promise<typeof AttestedServer> {
  if (server.length + handshake.length === 0) return AttestedServer;
  const edits: Edit[] =
    handshake.length === 0
      ? [...server]
      : [...server, ["'./handshake.ts'", `'${weakened('runtime/src/handshake.ts', ...handshake)}'`]];
  return (await import(weakened('runtime/src/server.ts', ...edits))).AttestedServer;
}
