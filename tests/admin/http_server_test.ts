import * as assert from "node:assert/strict";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import * as Runtime from "effect/Runtime";
import * as Scope from "effect/Scope";
import { AdminListenError } from "../../src/admin/errors.ts";
import { AdminHttpServer } from "../../src/admin/http_server.ts";
import { Metrics } from "../../src/metrics/metrics.ts";
import { EXPOSITION_CONTENT_TYPE } from "../../src/metrics/prometheus.ts";
import { Readiness } from "../../src/metrics/readiness.ts";

const OPTIONS = { hostname: "127.0.0.1", port: 0, path: "/metrics" };

/** What one request was answered with. */
interface Answered {
  readonly status: number;
  readonly body: string;
  readonly headers: Headers;
}

const ask = (path: string, method = "GET") =>
  Effect.gen(function* () {
    const { hostname, port } = yield* AdminHttpServer;
    return yield* Effect.promise(async (): Promise<Answered> => {
      const response = await fetch(`http://${hostname}:${port}${path}`, { method });
      return { status: response.status, body: await response.text(), headers: response.headers };
    });
  });

const layerServer = (options = OPTIONS) =>
  AdminHttpServer.layer(options).pipe(Layer.provideMerge(Layer.mergeAll(Metrics.layer, Readiness.layer)));

const withServer = <E>(body: Effect.Effect<void, E, AdminHttpServer | Metrics | Readiness>, options = OPTIONS) =>
  Effect.runPromise(body.pipe(Effect.provide(layerServer(options)), Effect.provide(Logger.layer([]))));

Deno.test("AdminHttpServer serves the exposition with its content type", () =>
  withServer(Effect.gen(function* () {
    (yield* Metrics).counters.connectionsTotal = 7;
    const answer = yield* ask("/metrics");
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-type"), EXPOSITION_CONTENT_TYPE);
    assert.match(answer.body, /^promptmq_connections_total 7$/m);
  })));

Deno.test("AdminHttpServer serves the exposition under the configured path only", () =>
  withServer(
    Effect.gen(function* () {
      assert.equal((yield* ask("/internal/figures?format=text")).status, 200);
      assert.equal((yield* ask("/metrics")).status, 404);
    }),
    { ...OPTIONS, path: "/internal/figures" },
  ));

Deno.test("AdminHttpServer is live from the start", () =>
  withServer(Effect.gen(function* () {
    for (const path of ["/health", "/health/live"]) {
      const answer = yield* ask(path);
      assert.deepEqual([answer.status, answer.body], [200, "ok\n"], path);
    }
  })));

Deno.test("AdminHttpServer says why it is not ready and when it is", () =>
  withServer(Effect.gen(function* () {
    const readiness = yield* Readiness;
    const starting = yield* ask("/health/ready");
    assert.deepEqual([starting.status, starting.body], [503, "starting\n"]);
    readiness.set(undefined);
    const ready = yield* ask("/health/ready");
    assert.deepEqual([ready.status, ready.body], [200, "ready\n"]);
    readiness.set("draining");
    const draining = yield* ask("/health/ready");
    assert.deepEqual([draining.status, draining.body], [503, "draining\n"]);
  })));

Deno.test("AdminHttpServer answers below a mounted path while its scope is open, and above it as ever", () =>
  withServer(Effect.gen(function* () {
    const server = yield* AdminHttpServer;
    const echo = (name: string) => (request: Request) =>
      Promise.resolve(new Response(`${name} ${request.method} ${new URL(request.url).pathname}`));
    const scope = yield* Scope.make();
    yield* Scope.provide(server.mount("/api", echo("api")), scope);
    yield* Scope.provide(server.mount("/api/v2", echo("v2")), scope);
    yield* Scope.provide(server.mount("/health", echo("not health")), scope);
    const answers = [
      ["/api", "GET", "api GET /api"],
      ["/api/sessions/a", "DELETE", "api DELETE /api/sessions/a"],
      ["/api/v2/", "POST", "v2 POST /api/v2/"],
      ["/api/v20", "GET", "api GET /api/v20"],
      ["/health", "GET", "ok\n"],
      ["/health/other", "GET", "not health GET /health/other"],
      ["/apis", "GET", "not found\n"],
    ] as const;
    for (const [path, method, body] of answers) assert.equal((yield* ask(path, method)).body, body, path);
    yield* Scope.close(scope, Exit.void);
    assert.equal((yield* ask("/api/sessions")).status, 404);
    yield* Effect.scoped(server.mount("/api", echo("again")));
  })));

Deno.test("AdminHttpServer answers 500 for a mounted path that fails, and takes no path twice", () =>
  withServer(Effect.scoped(Effect.gen(function* () {
    const server = yield* AdminHttpServer;
    yield* server.mount("/throws", () => {
      throw new Error("a bug");
    });
    yield* server.mount("/rejects", () => Promise.reject(new Error("a bug")));
    for (const path of ["/throws", "/rejects/below"]) assert.equal((yield* ask(path)).status, 500, path);
    for (const path of ["/throws", "/", "/a/", "a"]) {
      assert.ok(Exit.hasDies(yield* Effect.exit(server.mount(path, () => new Response()))), path);
    }
  }))));

Deno.test("AdminHttpServer answers HEAD like GET without a body", () =>
  withServer(Effect.gen(function* () {
    const full = yield* ask("/health/ready");
    const head = yield* ask("/health/ready", "HEAD");
    assert.deepEqual([head.status, head.body], [full.status, ""]);
    assert.equal(head.headers.get("content-length"), String(full.body.length));
    assert.equal(head.headers.get("content-type"), full.headers.get("content-type"));
  })));

Deno.test("AdminHttpServer answers 404 for other paths and 405 for other methods", () =>
  withServer(Effect.gen(function* () {
    for (const path of ["/", "/health/", "/metrics/x", "/favicon.ico"]) {
      assert.equal((yield* ask(path)).status, 404, path);
    }
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
      const answer = yield* ask("/metrics", method);
      assert.deepEqual([answer.status, answer.headers.get("allow")], [405, "GET, HEAD"], method);
    }
  })));

Deno.test("AdminHttpServer answers 500 when a collector is broken and keeps serving", () =>
  withServer(Effect.scoped(Effect.gen(function* () {
    yield* (yield* Metrics).addCollector(() => {
      throw new Error("collector bug");
    });
    const broken = yield* ask("/metrics");
    assert.deepEqual([broken.status, broken.body], [500, "internal error\n"]);
    assert.equal((yield* ask("/health")).status, 200);
  }))));

Deno.test("AdminHttpServer fails with the address when it is taken", () =>
  withServer(Effect.gen(function* () {
    const { port } = yield* AdminHttpServer;
    const exit = yield* Effect.exit(Effect.scoped(Layer.build(Layer.fresh(layerServer({ ...OPTIONS, port })))));
    const error = Exit.isFailure(exit) ? exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error : undefined;
    assert.ok(error instanceof AdminListenError);
    assert.equal(error.reason, "address_in_use");
    assert.equal(
      error.message,
      `Cannot serve metrics and health on 127.0.0.1:${port}: the address is in use; ` +
        "stop the other process or choose another with --metrics-bind",
    );
    assert.equal(Runtime.getErrorExitCode(error), 69);
  })));

Deno.test("AdminHttpServer frees its port when its scope closes", () =>
  Effect.runPromise(Effect.gen(function* () {
    const { port } = yield* Effect.scoped(AdminHttpServer.pipe(Effect.provide(layerServer())));
    const listener = Deno.listen({ hostname: "127.0.0.1", port });
    listener.close();
    assert.equal(listener.addr.transport, "tcp");
  })));

Deno.test("AdminHttpServer closes although a client holds a request half sent", async () => {
  const buffer = new Uint8Array(1024);
  const { client, answer } = await Effect.runPromise(
    Effect.gen(function* () {
      const server = yield* AdminHttpServer;
      return yield* Effect.promise(async () => {
        const client = await Deno.connect(server);
        await client.write(new TextEncoder().encode("GET /health HTTP/1.1\r\nhost: a\r\n\r\nGET /health HT"));
        const count = await client.read(buffer);
        return { client, answer: new TextDecoder().decode(buffer.subarray(0, count ?? 0)) };
      });
    }).pipe(Effect.provide(layerServer())),
  );
  assert.match(answer, /^HTTP\/1\.1 200 /);
  // The rest of the answer, if any, and then the end: the server is gone while the second request is unfinished.
  while (await client.read(buffer) !== null);
  client.close();
});
