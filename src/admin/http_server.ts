/**
 * The HTTP server for operators and their machines: metrics and health.
 *
 * | path            | answer                                                              |
 * |-----------------|---------------------------------------------------------------------|
 * | `metrics.path`  | 200, text exposition                                                |
 * | `/health`       | 200 while the process answers                                       |
 * | `/health/live`  | the same, for orchestrators that want the pair                      |
 * | `/health/ready` | 200 when clients may come, otherwise 503 with the reason as body    |
 *
 * GET and HEAD only; another method is 405, another path 404. A health path wins over an equal `metrics.path`. A
 * request whose Host names none is 400.
 *
 * Other parts of the broker answer below a path of theirs while they are there (`mount`); the paths above win, and of
 * two mounted ones the longer.
 *
 * It carries no MQTT and reads the broker through two services of the lowest floor, so it can be up before
 * recovery begins and stay up until the last connection is drained. A request for one of its own paths never enters an
 * Effect: each answer is computed synchronously from numbers in memory.
 *
 * The runtime accepts for it, and gives the port up for good when it cannot, as without a file descriptor left. It takes no
 * listener that was opened elsewhere and would outlive that, so this listens anew on the same port until it succeeds.
 */
import * as Context from "effect/Context";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Queue from "effect/Queue";
import type * as Scope from "effect/Scope";
import * as assert from "node:assert/strict";
import { Metrics } from "../metrics/metrics.ts";
import { EXPOSITION_CONTENT_TYPE } from "../metrics/prometheus.ts";
import { Readiness } from "../metrics/readiness.ts";
import { formatBindAddress } from "../system/bind_address.ts";
import { type AdminListenError, adminListenError } from "./errors.ts";

/** Where the server listens and what it calls the exposition. */
export interface AdminHttpOptions {
  /** A name or address of this host, such as `0.0.0.0`. */
  readonly hostname: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Path of the exposition, starting with `/`. */
  readonly path: string;
}

/** Time open requests get to finish when the server closes. */
const SHUTDOWN_GRACE = "500 millis";

/** Time from a failure to the next try to listen. */
const REOPEN_DELAY = Duration.seconds(1);

/** Failed requests that wait to be logged; more at once are answered 500 without a log line of their own. */
const FAULTS_MAX = 16;

/** What answers below a mounted path; methods are up to it. What it throws, or rejects with, is answered 500 and logged. */
export type Answer = (request: Request) => Response | Promise<Response>;

/** The running admin HTTP server. */
export class AdminHttpServer extends Context.Service<AdminHttpServer, {
  readonly hostname: string;
  /** The port really listened on. */
  readonly port: number;
  /**
   * Answers requests for a path and everything below it for the life of the surrounding scope.
   *
   * @param path Such as `/api`: with `/` in front and none at the end. Nobody else has it mounted.
   */
  mount(path: string, answer: Answer): Effect.Effect<void, never, Scope.Scope>;
}>()("promptmq/admin/AdminHttpServer") {
  /**
   * Listens from construction until the scope closes.
   *
   * Fails with `AdminListenError` when the address cannot be listened on.
   */
  static readonly layer = (options: AdminHttpOptions) =>
    Layer.effect(
      AdminHttpServer,
      Effect.gen(function* () {
        const metrics = yield* Metrics;
        const readiness = yield* Readiness;
        const faults = yield* Queue.dropping<unknown>(FAULTS_MAX);
        yield* Queue.take(faults).pipe(
          Effect.flatMap((fault) => Effect.logError("Admin request failed", fault)),
          Effect.forever,
          Effect.forkScoped,
        );
        const mounted = new Map<string, Answer>();
        const answer = makeAnswer(options.path, metrics, readiness, mounted);
        let current: Listening | undefined = undefined;
        const first = yield* Effect.acquireRelease(open(options, answer, faults), (opened) => close(current ?? opened));
        const { hostname, port } = first.server.addr;
        const reopen = open({ ...options, hostname, port }, answer, faults).pipe(
          Effect.map((opened) => current = opened),
          Effect.uninterruptible,
        );
        yield* Effect.forkScoped(keepServing(first, reopen));
        return AdminHttpServer.of({ hostname, port, mount: (path, below) => mount(mounted, path, below) });
      }),
    );
}

interface Listening {
  readonly server: Deno.HttpServer<Deno.NetAddr>;
  readonly abort: AbortController;
  /** Never rejects: resolves with what broke the server, or with undefined once it was shut down. */
  readonly ended: Promise<unknown>;
}

const open = (options: AdminHttpOptions, answer: Answer, faults: Queue.Queue<unknown>) =>
  Effect.try({
    try: (): Listening => {
      const abort = new AbortController();
      const server = Deno.serve({
        hostname: options.hostname,
        port: options.port,
        signal: abort.signal,
        onListen: () => {},
        onError: (fault) => {
          Queue.offerUnsafe(faults, fault);
          return plainText("internal error\n", 500);
        },
      }, answer);
      return { server, abort, ended: server.finished.then(() => undefined, (cause: unknown) => cause) };
    },
    catch: (cause) => adminListenError(options.hostname, options.port, cause),
  });

/** Serves again whenever a server broke. Ends when one was shut down. */
const keepServing = Effect.fnUntraced(function* (first: Listening, reopen: Effect.Effect<Listening, AdminListenError>) {
  const metrics = formatBindAddress(first.server.addr);
  for (let listening = first;;) {
    const { ended } = listening;
    const cause = yield* Effect.promise(() => ended);
    if (cause === undefined) return;
    yield* Effect.logError("metrics and health are not served", { metrics, cause: String(cause) });
    // It needs a descriptor for the port itself, so the first try may be too early.
    listening = yield* reopen.pipe(Effect.delay(REOPEN_DELAY), Effect.eventually);
    yield* Effect.logInfo("metrics and health are served again", { metrics });
  }
});

/** Lets open requests finish, then cuts the ones that do not. Aborting a server already down is an error. */
const close = ({ server, abort, ended }: Listening) =>
  Effect.promise(() => server.shutdown()).pipe(
    Effect.timeoutOrElse({
      duration: SHUTDOWN_GRACE,
      orElse: () => Effect.sync(() => abort.abort()),
    }),
    Effect.andThen(Effect.promise(() => ended)),
  );

function makeAnswer(
  metricsPath: string,
  metrics: Context.Service.Shape<typeof Metrics>,
  readiness: Context.Service.Shape<typeof Readiness>,
  mounted: ReadonlyMap<string, Answer>,
): Answer {
  const live = () => plainText("ok\n", 200);
  const ready = () => {
    const reason = readiness.reason();
    return reason === undefined ? plainText("ready\n", 200) : plainText(`${reason}\n`, 503);
  };
  const routes = new Map<string, () => Response>([
    [metricsPath, () => plainText(metrics.render(), 200, EXPOSITION_CONTENT_TYPE)],
    ["/health", live],
    ["/health/live", live],
    ["/health/ready", ready],
  ]);
  return (request) => {
    // The runtime puts the address together from what the peer says its Host is.
    const url = URL.parse(request.url);
    if (url === null) return plainText("bad request\n", 400);
    const route = routes.get(url.pathname);
    if (route === undefined) return answerBelow(url.pathname, mounted)?.(request) ?? plainText("not found\n", 404);
    if (request.method === "GET") return route();
    if (request.method === "HEAD") return withoutBody(route());
    const refusal = plainText("method not allowed\n", 405);
    refusal.headers.set("allow", "GET, HEAD");
    return refusal;
  };
}

function mount(mounted: Map<string, Answer>, path: string, answer: Answer): Effect.Effect<void, never, Scope.Scope> {
  return Effect.asVoid(Effect.acquireRelease(
    Effect.sync(() => {
      assert.ok(/^(?:\/[^/]+)+$/.test(path) && !mounted.has(path), `path ${path} can be mounted`);
      mounted.set(path, answer);
    }),
    () => Effect.sync(() => mounted.delete(path)),
  ));
}

/** The answer mounted at the path or at the nearest one above it. */
function answerBelow(path: string, mounted: ReadonlyMap<string, Answer>): Answer | undefined {
  for (let end = path.length; end > 0; end = path.lastIndexOf("/", end - 1)) {
    const answer = mounted.get(path.slice(0, end));
    if (answer !== undefined) return answer;
  }
  return undefined;
}

function plainText(body: string, status: number, contentType = "text/plain; charset=utf-8"): Response {
  const bytes = new TextEncoder().encode(body);
  return new Response(bytes, {
    status,
    headers: {
      "content-type": contentType,
      "content-length": String(bytes.byteLength),
      "cache-control": "no-store",
    },
  });
}

function withoutBody(response: Response): Response {
  return new Response(null, { status: response.status, headers: response.headers });
}
