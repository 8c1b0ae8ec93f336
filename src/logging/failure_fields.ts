/**
 * How the end of an effect is told in the log: what an operator can act on in one sentence, a bug with its whole stack.
 */

import * as Cause from "effect/Cause";
import type { Fields } from "./log_line.ts";

/**
 * The fields for a failure: `error` with the messages of tagged errors, which are complete by themselves. Anything
 * else is a bug and gets `cause`, with stacks.
 */
export function failureFields(cause: Cause.Cause<unknown>): Fields {
  const messages: string[] = [];
  for (const reason of cause.reasons) {
    if (reason._tag === "Interrupt") continue;
    if (reason._tag !== "Fail" || !isTaggedError(reason.error)) return { cause: Cause.pretty(cause) };
    messages.push(reason.error.message);
  }
  return messages.length === 0 ? { cause: Cause.pretty(cause) } : { error: messages.join("; ") };
}

function isTaggedError(error: unknown): error is Error {
  return error instanceof Error && "_tag" in error && typeof error._tag === "string";
}
