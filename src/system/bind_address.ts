/**
 * An address that a listener is bound to, and its one spelling.
 */

/** A network address to listen on. */
export interface BindAddress {
  /** Host name or IP address, IPv6 without brackets. */
  readonly hostname: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

/** Writes an address as it is read: `127.0.0.1:1883`, `[::1]:1883`. */
export function formatBindAddress(address: BindAddress): string {
  return `${address.hostname.includes(":") ? `[${address.hostname}]` : address.hostname}:${address.port}`;
}
