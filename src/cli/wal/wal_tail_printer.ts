/**
 * Prints what `wal tail` finds: one JSON line per record, in large writes.
 */

import type { LogBuffer } from "../../storage/log/log_buffer.ts";
import { RecordType, recordType } from "../../storage/log/record.ts";
import { matchesFilter } from "../../topics/topic_rules.ts";
import { type PayloadView, recordFields, topicOf } from "./wal_record.ts";
import type { TailReader } from "./wal_tail.ts";

/** What is written to: standard output, or something that stands for it. */
export interface LineOutput {
  writeSync(bytes: Uint8Array): number;
}

/** See the head of this file. */
export class TailPrinter implements TailReader {
  /** True once nobody reads any more. */
  isClosed = false;
  /** What turns the times of the log into wall time. */
  wallOffsetMs = 0;
  readonly #output: LineOutput;
  readonly #filter: string | undefined;
  readonly #payloadView: PayloadView;
  #text = "";

  /** @param filter With one, only messages with a matching topic are printed, and no other records. */
  constructor(output: LineOutput, filter: string | undefined, payloadView: PayloadView) {
    this.#output = output;
    this.#filter = filter;
    this.#payloadView = payloadView;
  }

  record(buffer: LogBuffer, start: number, position: number, writtenMs: number): void {
    if (!this.#isWanted(buffer, start)) return;
    this.#line(recordFields(buffer, start, position, writtenMs, this.#payloadView, this.wallOffsetMs));
  }

  missing(firstLsn: number, endLsn: number, reason: string): void {
    this.#line({ position: firstLsn, type: "missing", end: endLsn, reason });
  }

  /** Writes what was collected. */
  flush(): void {
    const bytes = new TextEncoder().encode(this.#text);
    this.#text = "";
    try {
      for (let written = 0; written < bytes.length && !this.isClosed;) {
        written += this.#output.writeSync(bytes.subarray(written));
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
      this.isClosed = true;
    }
  }

  #isWanted(buffer: LogBuffer, start: number): boolean {
    if (this.#filter === undefined) return true;
    return recordType(buffer, start) === RecordType.PUBLISH && matchesFilter(this.#filter, topicOf(buffer, start));
  }

  #line(fields: object): void {
    this.#text += `${JSON.stringify(fields)}\n`;
    if (this.#text.length >= FLUSHED_CHARS) this.flush();
  }
}

/** Text that is collected before it is written. */
const FLUSHED_CHARS = 65_536;
