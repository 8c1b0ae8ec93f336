/**
 * What ails the store, told to the operator: log lines, and the readiness that follows from all ailments together.
 *
 *   ailment      begins                               ends
 *   full         a write found no space               it is written
 *   low          free space below the minimum         it is back
 *   failed       a write or sync failed               never: the device is not to be trusted until somebody looked
 *   compaction   the compactor failed                 a pass that succeeds
 *   read         a message could not be read back     never: as for `failed`
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { Log, type LogWriter } from "../logging/log.ts";
import { Readiness } from "../metrics/readiness.ts";
import type { StorageFailed } from "./model/errors.ts";
import type { Position } from "./model/stored.ts";

/** One reason for the store not to be well. */
export type Ailment = "full" | "low" | "failed" | "compaction" | "read";

/** See the head of this file. */
export class StorageHealth {
  readonly #logger: LogWriter;
  readonly #readiness: Readiness["Service"];
  readonly #ailments = new Map<Ailment, string>();

  constructor(logger: LogWriter, readiness: Readiness["Service"]) {
    this.#logger = logger;
    this.#readiness = readiness;
  }

  /** True while the ailment lasts. */
  has(ailment: Ailment): boolean {
    return this.#ailments.has(ailment);
  }

  /** An ailment began, or goes on. Logged when it begins. */
  begin(ailment: Ailment, message: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.#ailments.has(ailment)) return;
    this.#logger.write("error", message, fields);
    this.#set(ailment, message);
  }

  /** An ailment is over. Logged when there was one. */
  end(ailment: Ailment, message: string): void {
    if (!this.#ailments.delete(ailment)) return;
    this.#logger.write("info", message);
    this.#tell();
  }

  /** A sync took long; whoever waits for an acknowledgement waited as long. */
  slowSync(milliseconds: number): void {
    this.#logger.limited("slow_sync", "warn", "a sync of the log was slow", { milliseconds: Math.round(milliseconds) });
  }

  /** A write found no space. */
  outOfSpace(cause: StorageFailed): void {
    this.begin("full", "no space left for the log: QoS 1 and 2 messages are refused until there is", {
      error: cause.message,
    });
  }

  /** A write or sync failed. */
  poisoned(cause: StorageFailed): void {
    this.begin("failed", "the log could not be written: what was not safe goes to a fresh segment", {
      error: cause.message,
    });
  }

  /** A message could not be read back; there may be thousands of them. */
  unreadable(position: Position, cause: StorageFailed): void {
    const message = "a message cannot be read back and is not delivered; check the device";
    this.#logger.limited("unreadable", "error", message, { position, segment: cause.path, error: cause.message });
    if (!this.has("read")) this.#set("read", message);
  }

  /** Memory still had what a segment has no more. */
  healed(segment: string, firstLsn: number, endLsn: number): void {
    const message = "a part of the log was damaged on disk and is kept from memory; check the device";
    this.#logger.limited("healed", "warn", message, { segment, firstLsn, endLsn });
  }

  /** What could not be written is safe now. */
  recovered(): void {
    this.end("full", "there is space for the log again");
    if (this.has("failed")) this.#logger.write("warn", "the log goes on in a fresh segment; check the device");
  }

  #set(ailment: Ailment, message: string): void {
    this.#ailments.set(ailment, message);
    this.#tell();
  }

  #tell(): void {
    const [first] = this.#ailments.values();
    this.#readiness.set(first === undefined ? undefined : `storage: ${first}`, "storage");
  }
}

/** The health of the one store there is, which all its services tell of their ailments. */
export class StorageHealthService
  extends Context.Service<StorageHealthService, StorageHealth>()("promptmq/storage/StorageHealthService") {
  static readonly layer = Layer.effect(
    StorageHealthService,
    Effect.gen(function* () {
      return new StorageHealth(yield* Log, yield* Readiness);
    }),
  );
}
