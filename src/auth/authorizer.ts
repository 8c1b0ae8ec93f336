/**
 * What a client may do: the port that permission rules implement. Asked synchronously for every topic, so an
 * implementation compiles its rules beforehand.
 */
import * as Context from "effect/Context";
import * as Layer from "effect/Layer";

/** The client that asks. */
export interface Principal {
  readonly clientId: string;
  readonly username: string | undefined;
}

/** Permission checks. Must not wait, throw or allocate more than it needs. */
export class Authorizer extends Context.Service<Authorizer, {
  /** May the client publish to this Topic Name? Asked per PUBLISH and for the Will Message. */
  mayPublish(principal: Principal, topicName: string): boolean;
  /** May the client subscribe to this Topic Filter (without `$share/group/`)? */
  maySubscribe(principal: Principal, filter: string): boolean;
}>()("promptmq/auth/Authorizer") {
  /** Every authenticated client may do everything. */
  static readonly layerAllowAll = Layer.succeed(
    Authorizer,
    Authorizer.of({ mayPublish: () => true, maySubscribe: () => true }),
  );
}
