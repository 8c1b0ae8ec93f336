/**
 * Counters by label, for what is too rare to deserve a field per label. Bounded, so that nobody can grow them.
 */

/** Distinct labels a `LabelledCounter` keeps before it counts under `other`. */
export const LABELS_MAX = 128;

/**
 * A counter per reason, for events rare enough to be named by a string (refused CONNECT, protocol error).
 *
 * At most `LABELS_MAX` reasons are kept; the rest count as `other`, so a peer that provokes ever new reasons cannot
 * grow memory or the exposition.
 */
export class LabelledCounter {
  readonly #values: Record<string, number> = Object.create(null);
  #size = 0;

  /** @param label A name in snake_case, such as a Reason Code's. */
  add(label: string): void {
    const known = this.#values[label];
    if (known !== undefined) {
      this.#values[label] = known + 1;
    } else if (this.#size < LABELS_MAX) {
      this.#size++;
      this.#values[label] = 1;
    } else {
      this.#values["other"] = (this.#values["other"] ?? 0) + 1;
    }
  }

  /** The labels seen so far with their counts, in order of first appearance. O(labels); for scrapes. */
  entries(): readonly (readonly [label: string, count: number])[] {
    return Object.entries(this.#values);
  }

  /** Sum over all labels. O(labels). */
  total(): number {
    return this.entries().reduce((sum, [, count]) => sum + count, 0);
  }
}

/** How an operation of the store ended; the label `status` of `promptmq_persistence_operations_total`. */
export type OperationStatus = "ok" | "error";

/** A counter per operation and status. Per status at most `LABELS_MAX` operations are kept; the rest count as `other`. */
export class OperationCounter {
  readonly #byStatus: Readonly<Record<OperationStatus, LabelledCounter>> = {
    ok: new LabelledCounter(),
    error: new LabelledCounter(),
  };

  /** @param operation A name in snake_case, such as `compact`. */
  add(operation: string, status: OperationStatus): void {
    this.#byStatus[status].add(operation);
  }

  /** The pairs seen so far with their counts. O(pairs); for scrapes. */
  entries(): readonly (readonly [operation: string, status: OperationStatus, count: number])[] {
    return (["ok", "error"] as const).flatMap((status) =>
      this.#byStatus[status].entries().map(([operation, count]) => [operation, status, count] as const)
    );
  }
}
