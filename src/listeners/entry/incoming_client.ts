/**
 * The client of one connection as the rules know it, from the moment its socket is accepted. Until its CONNECT is handled
 * it may still turn out to come from somewhere else: a PROXY header or the request of a WebSocket says so.
 */
import type { ClientCertificate } from "../../auth/identity/identity.ts";
import type { ClientOrigin } from "../../broker/client_origin.ts";
import { isLoopbackAddress, systemAddress } from "./client_address.ts";
import type { Listener } from "./listener.ts";

/** See the head of this file. */
export class IncomingClient implements ClientOrigin {
  readonly listener: Listener;
  remoteAddress: string;
  isLoopback: boolean;
  certificate: ClientCertificate | undefined = undefined;
  /** True from `Entrance.mayEnter` to `Entrance.left`. */
  isInside = false;
  /** True while inside and counted under its address. */
  isAddressCounted = false;
  /** True until the request of a WebSocket has said who is behind a proxy. */
  isRequestAwaited: boolean;

  /** @param systemText Address as the system gave it; undefined on a Unix socket. */
  constructor(listener: Listener, systemText: string | undefined) {
    this.listener = listener;
    this.isRequestAwaited = listener.isWebSocket;
    this.remoteAddress = systemText === undefined ? LOCAL_ADDRESS : systemAddress(systemText);
    this.isLoopback = systemText === undefined || isLoopbackAddress(this.remoteAddress);
  }
}

/** What stands for the address of a peer on a Unix socket. */
export const LOCAL_ADDRESS = "local";
