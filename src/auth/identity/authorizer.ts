/**
 * What a client may do: the port that permission rules implement. It is asked once per connection, when the client is
 * known, and hands out permissions that are asked per packet.
 */
import * as Context from "effect/Context";
import type { Permissions } from "../../topics/permissions.ts";
import type { Identity } from "./identity.ts";

/** The client that asks. */
export interface Principal extends Identity {
  readonly clientId: string;
}

/** See the head of this file. */
export class Authorizer extends Context.Service<Authorizer, {
  /**
   * Finds the rules that hold for a client; a promise only when a backend has to be asked. Never throws or rejects.
   *
   * @returns undefined when a backend gave no answer: the client is refused.
   */
  permissionsOf(principal: Principal): Permissions | Promise<Permissions | undefined>;
}>()("promptmq/auth/Authorizer") {}
