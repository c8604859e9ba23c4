/** The certificate that a server shows: a client that asks for no evidence pins it. */

import { connect } from 'node:tls';

/** In PEM, of a server on this machine. */
export function shownCertificate(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ALPNProtocols: ['h2'], rejectUnauthorized: false });
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      const pem = socket.getPeerX509Certificate()?.toString();
      socket.destroy();
      if (pem === undefined) reject(new Error('no certificate'));
      else resolve(pem);
    });
  });
}
