import * as assert from "node:assert/strict";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as TestClock from "effect/testing/TestClock";
import { Metrics } from "../../src/metrics/metrics.ts";
import { scalar } from "../../src/metrics/prometheus.ts";
import { NOT_READY_STARTING, Readiness } from "../../src/metrics/readiness.ts";

const inVirtualTime = <E>(body: Effect.Effect<void, E, Metrics>) =>
  Effect.runPromise(
    body.pipe(Effect.provide(Metrics.layer), Effect.provide(TestClock.layer())),
  );

Deno.test("Metrics renders the counters it hands out", () =>
  inVirtualTime(Effect.gen(function* () {
    const metrics = yield* Metrics;
    metrics.counters.messagesPublished = 42;
    assert.match(metrics.render(), /^promptmq_messages_published_total 42$/m);
  })));

Deno.test("Metrics measures uptime and throughput on the clock of its Layer", () =>
  inVirtualTime(Effect.gen(function* () {
    const metrics = yield* Metrics;
    metrics.counters.messagesPublished = 30;
    metrics.counters.messagesDelivered = 70;
    yield* TestClock.adjust("4 seconds");
    assert.equal(metrics.uptimeSeconds(), 4);
    const text = metrics.render();
    assert.match(text, /^promptmq_uptime_seconds 4$/m);
    assert.match(text, /^promptmq_throughput_messages_per_second 25$/m);
  })));

Deno.test("Metrics renders a collector's families until its scope closes", () =>
  inVirtualTime(Effect.gen(function* () {
    const metrics = yield* Metrics;
    let value = 1;
    yield* Effect.scoped(Effect.gen(function* () {
      yield* metrics.addCollector(() => [scalar("gauge", "promptmq_extra", "Extra.", value)]);
      assert.match(metrics.render(), /^promptmq_extra 1$/m);
      value = 2;
      assert.match(metrics.render(), /^promptmq_extra 2$/m);
    }));
    assert.doesNotMatch(metrics.render(), /promptmq_extra/);
  })));

Deno.test("Metrics reports resident memory of this process", () =>
  inVirtualTime(Effect.gen(function* () {
    const metrics = yield* Metrics;
    const bytes = Number(/^promptmq_memory_usage_bytes (\d+)$/m.exec(metrics.render())?.[1]);
    assert.ok(bytes > 1_000_000, `${bytes} bytes`);
  })));

Deno.test("Readiness gives a reason until it is set to undefined, and again afterwards", () =>
  Effect.runPromise(
    Effect.gen(function* () {
      const readiness = yield* Readiness;
      assert.equal(readiness.reason(), NOT_READY_STARTING);
      readiness.set(undefined);
      assert.equal(readiness.reason(), undefined);
      readiness.set("draining");
      assert.equal(readiness.reason(), "draining");
    }).pipe(Effect.provide(Layer.fresh(Readiness.layer))),
  ));

Deno.test("Readiness keeps a reason per source: what one clears does not hide the other, and the process speaks first", () =>
  Effect.runPromise(
    Effect.gen(function* () {
      const readiness = yield* Readiness;
      readiness.set("disk full", "storage");
      assert.equal(readiness.reason(), NOT_READY_STARTING);
      readiness.set(undefined);
      assert.equal(readiness.reason(), "disk full");
      readiness.set("draining");
      assert.equal(readiness.reason(), "draining");
      readiness.set(undefined, "storage");
      assert.equal(readiness.reason(), "draining");
      readiness.set(undefined);
      assert.equal(readiness.reason(), undefined);
    }).pipe(Effect.provide(Layer.fresh(Readiness.layer))),
  ));
