/**
 * How a crash test ends when it does not prove what it is for.
 */

import * as Data from "effect/Data";
import * as Runtime from "effect/Runtime";

/** The broker broke a promise. The report on standard output says which. */
export class PromiseBroken extends Data.TaggedError("PromiseBroken")<{ readonly faults: number }> {
  override get message(): string {
    return `${this.faults} promises were broken`;
  }

  override readonly [Runtime.errorReported] = false;
  override readonly [Runtime.errorExitCode] = 1;
}

/** The test could not be carried out, so nothing is proven either way. */
export class CrashtestUnavailable extends Data.TaggedError("CrashtestUnavailable")<{ readonly reason: string }> {
  override get message(): string {
    return `cannot test: ${this.reason}`;
  }

  override readonly [Runtime.errorExitCode] = 2;
}
