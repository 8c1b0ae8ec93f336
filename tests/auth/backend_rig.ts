/**
 * What tests of directories and HTTP servers share: a provider built by its layer, over a clock that the test moves and
 * a log that it reads.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as ManagedRuntime from "effect/ManagedRuntime";
import * as TestClock from "effect/testing/TestClock";
import { makeAuthenticator } from "../../src/auth/identity/authenticator.ts";
import type { Credentials, IdentityProvider, Verdict } from "../../src/auth/identity/identity.ts";
import { type Ask, openQuestions } from "../../src/auth/identity/questions.ts";
import { Log, type LogWriter } from "../../src/logging/log.ts";
import type { Fields } from "../../src/logging/log_line.ts";
import { Supervisor } from "../../src/logging/supervisor.ts";
import { WATCH_INTERVAL_MS } from "../../src/system/watched_file.ts";

/** When tests begin, in milliseconds since the epoch. */
export const START_MS = 1_800_000_000_000;

/** One line of the log. */
export interface LogLine {
  readonly message: string;
  readonly fields: Fields | undefined;
}

/** A service that is under test. */
export interface Rig<S> extends AsyncDisposable {
  readonly service: S;
  readonly log: readonly LogLine[];
  /** Asks the service; its questions end before it does. */
  readonly ask: Ask;
  /** Moves the clock, and with it all timeouts. */
  adjust(durationMs: number): Promise<void>;
}

/** Builds a service; rejects with the failure of its layer. */
export async function openRig<I, S, E>(
  service: Context.Service<I, S>,
  layer: Layer.Layer<I, E, Log | Supervisor>,
): Promise<Rig<S>> {
  const lines: LogLine[] = [];
  const write: LogWriter["write"] = (_level, message, fields) => void lines.push({ message, fields });
  const writer: LogWriter = {
    level: 0,
    write,
    limited: (_key, level, message, fields) => write(level, message, fields),
  };
  const below = Layer.mergeAll(Layer.succeed(Log, writer), Supervisor.layer).pipe(
    Layer.merge(Layer.effectDiscard(TestClock.setTime(START_MS))),
    Layer.provideMerge(TestClock.layer()),
  );
  const above = Layer.effect(Questions, openQuestions).pipe(Layer.provideMerge(layer), Layer.provideMerge(below));
  const runtime = ManagedRuntime.make(above);
  const built = await runtime.runPromise(Effect.service(service)).catch(async (failure) => {
    await runtime.dispose();
    throw failure;
  });
  return {
    service: built,
    log: lines,
    ask: await runtime.runPromise(Effect.service(Questions)),
    adjust: (durationMs) => runtime.runPromise(TestClock.adjust(durationMs)),
    [Symbol.asyncDispose]: () => runtime.dispose(),
  };
}

class Questions extends Context.Service<Questions, Ask>()("promptmq/tests/Questions") {}

/** Lets a changed file be noticed. */
export const NOTICE_MS = 2 * WATCH_INTERVAL_MS;

/** Credentials of a client that gives a name and a password, or less. */
export function credentials(username?: string, password?: string | Uint8Array): Credentials {
  return {
    clientId: "c",
    username,
    password: typeof password === "string" ? new TextEncoder().encode(password) : password,
    isLoopback: false,
    remoteAddress: "192.0.2.1",
    certificate: undefined,
    anonymous: undefined,
  };
}

/** Asks one provider, as the chain does; undefined when it passes. */
export function verdictOf(provider: IdentityProvider, ask: Ask, client: Credentials): Promise<Verdict | undefined> {
  const chain = makeAuthenticator(() => "false", [provider, { name: "next", verify: () => PASSED }], [], ask);
  return new Promise((resolve) =>
    chain.authenticate(client, (verdict) => resolve(verdict === PASSED ? undefined : verdict))
  );
}

const PASSED: Verdict = { kind: "refuse", reasonCode: 0, reason: "passed" };

/** A verdict in one string: `pass`, `accept alice [ops]`, or `refuse 0x86 bad_password`. */
export async function ask(
  rig: Rig<IdentityProvider>,
  username?: string,
  password?: string | Uint8Array,
): Promise<string> {
  return describeVerdict(await verdictOf(rig.service, rig.ask, credentials(username, password)));
}

/** See `ask`. */
export function describeVerdict(verdict: Verdict | undefined): string {
  if (verdict === undefined) return "pass";
  if (verdict.kind === "refuse") return `refuse 0x${verdict.reasonCode.toString(16)} ${verdict.reason}`;
  const { username, groups } = verdict.identity;
  return `accept ${username}${groups.length === 0 ? "" : ` [${groups.toSorted().join(" ")}]`}`;
}

/** A directory for files of one test, removed with it. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.makeTempDir({ prefix: "promptmq_backend_" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** A TCP server that does with each connection what the test says; connections are closed with it. */
export interface RawServer extends AsyncDisposable {
  readonly port: number;
}

/** @param serve Gets every connection; its failures are those of a client that went away. */
export function rawServer(serve: (conn: Deno.TcpConn) => Promise<void>): RawServer {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = new Set<Deno.TcpConn>();
  const serving: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const conn of listener) {
      open.add(conn);
      serving.push(serve(conn).catch(() => undefined));
    }
  })();
  return {
    port: listener.addr.port,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      for (const conn of open) {
        try {
          conn.close();
        } catch {
          // The test closed it.
        }
      }
      await accepting;
      await Promise.all(serving);
    },
  };
}

/** For `rawServer`: reads until the client goes away and never answers. */
export async function silent(conn: Deno.TcpConn): Promise<void> {
  const chunk = new Uint8Array(4096);
  while (await conn.read(chunk) !== null) continue;
}
