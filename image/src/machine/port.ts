/** Ports on the loopback interface. */
import { createServer } from 'node:net';
import { MachineError } from './error.ts';

/**
 * Returns `port` if it is free on 127.0.0.1, or a free one for 0. It is free at this moment only:
 * QEMU's own refusal decides.
 *
 * @throws MachineError `port-taken`.
 */
export async function freePort(port: number): Promise<number> {
  const server = createServer();
  try {
    return await new Promise<number>((resolve, reject) => {
      server.once('error', (cause) => reject(portTaken(port, cause)));
      server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
        const address = server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  } finally {
    server.close();
  }
}

/** The error for a port that another process has. */
export function portTaken(port: number, cause?: unknown): MachineError {
  const reason = cause instanceof Error ? cause.message : 'in use';
  return new MachineError('port-taken', `port ${port} on 127.0.0.1 cannot be had: ${reason}`, { cause });
}
