/**
 * Measures memory and tells `MemoryPressure`; `limits.memory-high-water`.
 *
 * What is used is the smaller of two figures, since each is too large at times: the resident memory keeps what the
 * allocator does not give back, and the heap with its buffers counts what is garbage by now. A broker that holds its
 * publishers back allocates so little that nothing is collected, and would never learn that it could go on; so, while the
 * pressure lasts, each sample announces a buffer that nobody touches, which makes the runtime collect after a few.
 */
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import { ConfigStore } from "../config/reload.ts";
import { Log } from "../logging/log.ts";
import { machineMemoryBytes } from "../system/machine_memory.ts";
import type { MemoryPressure } from "./memory_pressure.ts";

/** Samples until it is interrupted. */
export const watchMemory = Effect.fnUntraced(function* (memory: MemoryPressure) {
  const store = yield* ConfigStore;
  const log = yield* Log;
  const defaultMark = Math.floor((machineMemoryBytes() ?? 0) * DEFAULT_SHARE);
  if (defaultMark === 0) {
    log.write("warn", "the memory of the machine is not known, set limits.memory-high-water to be protected");
  }
  return yield* Effect.sync(() => {
    const { memoryHighWaterBytes } = store.current().limits;
    const markBytes = memoryHighWaterBytes > 0 ? memoryHighWaterBytes : defaultMark;
    const { rss, heapUsed, external } = Deno.memoryUsage();
    const usedBytes = Math.min(rss, heapUsed + external);
    const wasHigh = memory.isHigh;
    memory.measure(usedBytes, markBytes);
    if (memory.isHigh) new Uint8Array(PROVOCATION_BYTES);
    if (memory.isHigh === wasHigh) return;
    const message = memory.isHigh
      ? "memory is high, connects are refused and publishers wait until clients have taken what waits for them"
      : "memory is no longer high";
    log.write(memory.isHigh ? "error" : "info", message, { usedBytes, markBytes });
  }).pipe(Effect.delay(Duration.millis(SAMPLE_MS)), Effect.forever);
});

const SAMPLE_MS = 500;
/** Of the machine's memory, where no mark is configured. */
const DEFAULT_SHARE = 0.8;
/** Five of these made the runtime collect. Untouched, they cost address space and nothing else. */
const PROVOCATION_BYTES = 16_777_216;
