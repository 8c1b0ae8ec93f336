/**
 * One Session as a replay of the log knows it.
 */
import type { SessionState } from "../model/durable_state.ts";
import type { ReplayedQueue } from "./replayed_queue.ts";

/** One recorded Session while the log is replayed. */
export interface ReplayedSession {
  readonly number: number;
  readonly state: SessionState;
  readonly queue: ReplayedQueue;
}
