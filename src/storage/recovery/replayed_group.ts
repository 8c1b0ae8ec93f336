/**
 * A Shared Subscription while the log is replayed. What becomes of its messages is in `replayed_groups.ts`.
 */
import type { OwedGroup } from "../model/durable_state.ts";

/** A Shared Subscription. */
export interface ReplayedGroup {
  readonly name: string;
  readonly filter: string;
  /** Numbers of recorded Sessions that subscribe to it. */
  readonly members: Set<number>;
  /** Counts how often the last member left: a message of an earlier era is not in the backlog any more. */
  era: number;
}

/** A Shared Subscription with its place in the route of a message. */
export interface RoutedGroup {
  readonly group: ReplayedGroup;
  readonly owed: OwedGroup;
}
