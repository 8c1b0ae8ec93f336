/**
 * Measures what SQLite does: how long each transaction takes, how many writes fail, and how the rare operations end.
 */
import { StorageCounters } from "../../metrics/storage_counters.ts";

/** See the head of this file. */
export class SqliteWatch {
  readonly #counters: StorageCounters;
  readonly #clock: () => number;
  /** Time that the open transaction took so far; it may be made in several steps. */
  #spentMs = 0;

  /** @param clock Milliseconds; may have fractions. */
  constructor(counters: StorageCounters, clock: () => number) {
    this.#counters = counters;
    this.#clock = clock;
  }

  /** Runs a step of a transaction. One that throws ends the transaction as failed. */
  step<A>(run: () => A): A {
    const startedMs = this.#clock();
    try {
      const result = run();
      this.#spentMs += this.#clock() - startedMs;
      return result;
    } catch (cause) {
      this.#spentMs = 0;
      this.#counters.sqliteWriteErrors++;
      throw cause;
    }
  }

  /** The transaction is committed: what its steps took together is observed. */
  committed(): void {
    this.#counters.sqliteWriteLatencyMicroseconds.observe(this.#spentMs * 1000);
    this.#spentMs = 0;
  }

  /** The transaction is taken back. */
  rolledBack(): void {
    this.#spentMs = 0;
  }

  /** Runs an operation that is counted by its name and outcome. */
  operation<A>(name: "open" | "load" | "checkpoint", run: () => A): A {
    const { persistenceOperations } = this.#counters;
    try {
      const result = run();
      persistenceOperations.add(name, "ok");
      return result;
    } catch (cause) {
      persistenceOperations.add(name, "error");
      // It writes, and no transaction tells of it.
      if (name === "checkpoint") this.#counters.sqliteWriteErrors++;
      throw cause;
    }
  }
}

/** For a database that nobody wants to know of, such as a copy that is read once. */
export function unwatched(): SqliteWatch {
  return new SqliteWatch(new StorageCounters(), () => 0);
}
