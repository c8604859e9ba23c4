/** Errors that can end a machine: one class, a closed list of codes. */

export type MachineErrorCode =
  /** A program or file that the machine needs is not on this computer. */
  | 'tool-missing'
  /** The loopback port asked for is in use. */
  | 'port-taken'
  /** A disk or image file is not there or cannot be read. */
  | 'disk-missing'
  /** The app bundle is not one: truncated, altered or something else. */
  | 'bundle-invalid'
  /** The TPM could not be made or started. */
  | 'tpm-failed'
  /** The guest did not serve in time. */
  | 'boot-timeout'
  /** The emulator lost a timer of the guest in each of several boots. */
  | 'timer-lost'
  /** The guest said why it does not serve, and powered off; the reason is the message. */
  | 'guest-refused'
  /** QEMU ended without the guest having said why. */
  | 'exited'
  /** The state is sealed to another image or command line, and this launch could not open it. */
  | 'state-sealed'
  /** A machine runs on the state, or it is being copied. */
  | 'state-held'
  /** The description asks for something that cannot be combined. */
  | 'unsupported';

/**
 * Thrown by everything under machine/; `console` holds the last lines that the guest wrote, oldest
 * first.
 */
export class MachineError extends Error {
  override readonly name = 'MachineError';
  readonly code: MachineErrorCode;
  readonly console: readonly string[];

  constructor(code: MachineErrorCode, message: string, options: ErrorOptions & { console?: readonly string[] } = {}) {
    super(message, options);
    this.code = code;
    this.console = options.console ?? [];
  }
}
