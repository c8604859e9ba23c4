/** The host's seat: what whoever starts QEMU can add to a machine behind its owner's back. */
import { connect } from 'node:net';
import type { ToolOptions } from '@enclaim/image/machine';
import { wrappedTools } from './wrapped-tools.ts';

/** A port at which no guest serves. */
export const OTHER_PORT = 50052;
/** Longer than a refusal takes, and shorter than a guest's patience with silence. */
const SILENCE_MS = 4000;

/** What the host adds. */
export interface HostileHost {
  /** Further arguments of QEMU. */
  readonly append?: readonly string[];
  /**
   * Ports of 127.0.0.1 that lead to other ports of the guest than the one that it serves, or to another address than the one
   * that DHCP gives.
   */
  readonly forward?: readonly { readonly from: number; readonly to: number; readonly address?: string }[];
}

/**
 * Tools by which QEMU is started as the host wants.
 * @param folder Where they are put.
 * @param inner Tools of a machine that starts without its firmware (guest-image.ts).
 */
export function hostileTools(
  folder: string,
  { append = [], forward = [] }: HostileHost,
  inner?: ToolOptions,
): Promise<ToolOptions> {
  const forwards = forward
    .map(({ from, to, address = '' }) => `,hostfwd=tcp:127.0.0.1:${from}-${address}:${to}`)
    .join('');
  return wrappedTools(
    folder,
    `case $argument in user,id=net0,*) argument="$argument${forwards}" ;; esac`,
    append,
    inner,
  );
}

/** What came of a connection that the host forwards to a port of the guest: QEMU ends it as soon as the guest refuses. */
export function knock(port: number): Promise<'refused' | 'silence'> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const timer = setTimeout(() => end('silence'), SILENCE_MS);
    const end = (what: 'refused' | 'silence'): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(what);
    };
    socket.on('error', () => end('refused')).on('close', () => end('refused'));
  });
}
