/**
 * What a client may do: the port that permission rules implement. It is asked once per connection, when the client is
 * known, and hands out permissions that are asked per packet.
 */
import * as Context from "effect/Context";
import type { Permissions } from "../../topics/permissions.ts";
import type { Identity } from "./identity.ts";
import type { TakeBack } from "./questions.ts";

/** The client that asks. */
export interface Principal extends Identity {
  readonly clientId: string;
}

/** See the head of this file. */
export class Authorizer extends Context.Service<Authorizer, {
  /**
   * Finds the rules that hold for a client.
   *
   * @param heard Called as `Ask` says, later only when a backend has to be asked; undefined when that gave no answer:
   *   the client is refused.
   */
  permissionsOf(principal: Principal, heard: (permissions: Permissions | undefined) => void): TakeBack | undefined;
}>()("promptmq/auth/Authorizer") {}
