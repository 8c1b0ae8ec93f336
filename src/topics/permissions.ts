/**
 * What one client may do with topics: the port that permission rules implement and the broker asks, synchronously, for
 * every packet. An implementation compiles its rules beforehand and remembers its answers.
 */
import type { QoS } from "../protocol/packets.ts";
import type { Topic } from "./topic.ts";

/** Must not wait, throw or allocate more than it needs. Its answers may change while it is in use. */
export interface Permissions {
  /** May the client publish such a message? Asked per PUBLISH, and for the Will Message. */
  mayPublish(topic: Topic, qos: QoS, retain: boolean): boolean;
  /**
   * What the client is granted when it subscribes.
   *
   * @param filter A valid Topic Filter, without `$share/group/`.
   * @returns The largest QoS granted, at most `qos`, or undefined when the client may not subscribe.
   */
  grantedQos(filter: string, qos: QoS): QoS | undefined;
  /** May the client be sent a message of this topic? Asked per delivery, and only with `auth.recheck-on-deliver`. */
  mayReceive(topicName: string): boolean;
}

/** Everything is allowed. */
export const ALL_PERMITTED: Permissions = {
  mayPublish: () => true,
  grantedQos: (_filter, qos) => qos,
  mayReceive: () => true,
};
