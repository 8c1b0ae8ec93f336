/**
 * One permission rule, wherever it came from: the file of rules, the claims of a token, or the answer of a backend.
 *
 * Rules are read in order and the first that applies decides. Where none applies the answer is no.
 */
import type { QoS } from "../../protocol/packets.ts";

/** What a rule is about. */
export type AccessAction = "publish" | "subscribe" | "all";

/** See the head of this file. */
export interface AccessRule {
  readonly effect: "allow" | "deny";
  readonly action: AccessAction;
  /** Topic Filters; `%u` stands for the username and `%c` for the Client Identifier, each for a whole level only. */
  readonly topics: readonly string[];
  /** `allow` only: messages above this QoS are not covered, and subscriptions are granted no more. Undefined = 2. */
  readonly qosMax?: QoS;
  /** `allow` only: false = does not cover messages with RETAIN. Undefined = true. */
  readonly retain?: boolean;
}
