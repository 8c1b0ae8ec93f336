/**
 * The service that owns the broker's one set of counters and turns it into an exposition on request.
 *
 * Hot code asks this service for `counters` once, when its Layer is built, and from then on increments fields. A
 * subsystem whose numbers live elsewhere (topics, storage) registers a collector, which runs only at a scrape.
 *
 * It knows no HTTP: `admin/http_server.ts` calls `render`.
 */
import * as Clock from "effect/Clock";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import type * as Scope from "effect/Scope";
import { monotonicMsOf } from "../system/clock.ts";
import { brokerFamilies } from "./broker_families.ts";
import { Counters } from "./counters.ts";
import { type Family, renderFamilies } from "./prometheus.ts";
import { Throughput } from "./throughput.ts";

/** Reads numbers kept elsewhere. Called once per scrape, synchronously; it must not throw and must not block. */
export type Collector = () => readonly Family[];

/** Counters and their exposition. */
export class Metrics extends Context.Service<Metrics, {
  /** The broker's counters; the reference never changes. */
  readonly counters: Counters;
  /** When this service was built, in milliseconds since the epoch. */
  readonly startedAtMs: number;
  /** Seconds since this service was built, on the monotonic clock. */
  uptimeSeconds(): number;
  /** Adds a collector for the life of the surrounding scope; its families follow the broker's own. */
  addCollector(collector: Collector): Effect.Effect<void, never, Scope.Scope>;
  /** Text exposition of everything known now. O(series). */
  render(): string;
}>()("promptmq/metrics/Metrics") {
  /** Reads the clock that is in the context when the Layer is built. */
  static readonly layer = Layer.effect(
    Metrics,
    Effect.gen(function* () {
      const clock = yield* Clock.Clock;
      const monotonicMs = () => monotonicMsOf(clock);
      const counters = new Counters();
      const collectors = new Set<Collector>();
      const startMs = monotonicMs();
      const throughput = new Throughput(startMs);
      const uptimeSeconds = () => (monotonicMs() - startMs) / 1000;
      return Metrics.of({
        counters,
        startedAtMs: clock.currentTimeMillisUnsafe(),
        uptimeSeconds,
        addCollector: (collector) =>
          Effect.acquireRelease(
            Effect.sync(() => collectors.add(collector)),
            () => Effect.sync(() => collectors.delete(collector)),
          ),
        render: () => {
          const families = brokerFamilies(counters, {
            memoryBytes: Deno.memoryUsage().rss,
            uptimeSeconds: uptimeSeconds(),
            messagesPerSecond: throughput.read(counters.messagesPublished + counters.messagesDelivered, monotonicMs()),
          });
          return renderFamilies([...families, ...[...collectors].flatMap((collector) => collector())]);
        },
      });
    }),
  );
}
