/**
 * The whole broker as one graph of layers, on one screen. Read it from bottom to top of the floors: what stands above
 * is built later and closed earlier.
 */

import * as Cause from "effect/Cause";
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Runtime from "effect/Runtime";
import { AdminHttpServer } from "./admin/http_server.ts";
import { identity } from "./auth/identity_layer.ts";
import { Broker } from "./broker/broker.ts";
import { reloadOnHangup } from "./cli/process/hangup.ts";
import { pidFileLayer } from "./cli/process/pid_file.ts";
import type { StopDeadline } from "./cli/process/run_main.ts";
import type { LoadedConfig, Sources } from "./config/load.ts";
import type { Config } from "./config/options/schema.ts";
import { ConfigStore } from "./config/reload.ts";
import { VERSION } from "./config/version.ts";
import { warnOfAnonymousClients } from "./listeners/anonymous_warning.ts";
import { Listeners, type OpenListener } from "./listeners/listeners.ts";
import type { LogFileUnavailable } from "./logging/errors.ts";
import { failureFields } from "./logging/failure_fields.ts";
import { Level, Log } from "./logging/log.ts";
import { FiberDied, launchSupervised, Supervisor } from "./logging/supervisor.ts";
import { taskFamilies } from "./metrics/broker_families.ts";
import { Metrics } from "./metrics/metrics.ts";
import { Readiness } from "./metrics/readiness.ts";
import { layerDurable } from "./storage/durable_layer.ts";
import { MessageStore } from "./storage/message_store.ts";
import { formatBindAddress } from "./system/bind_address.ts";
import { BrokerClock } from "./system/clock.ts";

/** The broker could not start or could not go on. The log says why. */
export class BrokerFailed extends Data.TaggedError("BrokerFailed")<{ readonly cause: unknown }> {
  override get message(): string {
    return "the broker has failed";
  }

  override get [Runtime.errorExitCode](): number {
    return Runtime.getErrorExitCode(this.cause);
  }

  override readonly [Runtime.errorReported] = false;
}

/** Time that the end of the process may take beyond `server.shutdown-timeout`: flushing, closing, exit. */
const STOP_MARGIN_MS = 1000;

/**
 * Runs the broker until it is interrupted.
 *
 * @param loaded The configuration to start with.
 * @param sources Where it came from, for reloads.
 * @param deadline Kept at the configured time for a stop.
 * @returns Fails with `BrokerFailed` after everything has been closed and the reason logged.
 */
export function runBroker(
  loaded: LoadedConfig,
  sources: Sources,
  deadline: StopDeadline,
): Effect.Effect<never, BrokerFailed | LogFileUnavailable> {
  const { config } = loaded;
  const configStore = ConfigStore.layer(loaded, sources);
  const foundation = Layer.mergeAll(pidFileLayer(config.server.pidFile), followConfig(deadline), reloadOnHangup);

  const { metrics } = config;
  const admin = metrics.enabled && metrics.bind !== undefined
    ? AdminHttpServer.layer({ ...metrics.bind, path: metrics.path })
    : noAdmin;

  const app = ready.pipe(
    Layer.provideMerge(warnOfAnonymousClients),
    Layer.provideMerge(Listeners.layer),
    Layer.provideMerge(Broker.layer),
    Layer.provideMerge(
      Layer.mergeAll(config.storage.mode === "disk" ? layerDurable : MessageStore.layerMemory, identity),
    ),
    Layer.provideMerge(admin),
    Layer.provideMerge(countTasks),
    Layer.provideMerge(Layer.mergeAll(Metrics.layer, Readiness.layer, BrokerClock.layer)),
    Layer.provideMerge(foundation),
    Layer.provideMerge(configStore),
  );

  return Effect.logInfo("promptmq is starting", { version: VERSION, pid: Deno.pid, config: loaded.filePath }).pipe(
    Effect.andThen(launchSupervised(app, () => deadline.begin())),
    Effect.onExit((exit) => exit._tag === "Failure" ? logStop(exit.cause) : Effect.void),
    Effect.catchCause(failUnlessInterrupted),
    Effect.provide(Log.layer(config.log)),
  );
}

/** Applies the `live` options of the process itself: log level and deadline of a stop. */
function followConfig(deadline: StopDeadline) {
  return Layer.effectDiscard(Effect.gen(function* () {
    const log = yield* Log;
    const store = yield* ConfigStore;
    const apply = (config: Config) => {
      log.level = Level[config.log.level];
      deadline.ms = config.server.shutdownTimeoutMs + STOP_MARGIN_MS;
    };
    apply(store.current());
    yield* store.subscribe(apply);
  }));
}

/** Stands in when metrics are disabled. */
const noAdmin = Layer.succeed(AdminHttpServer, AdminHttpServer.of({ hostname: "", port: 0, mount: () => Effect.void }));

/** The one number that takes a service of logging and one of metrics, which do not know each other. */
const countTasks = Layer.effectDiscard(Effect.gen(function* () {
  const { counters, addCollector } = yield* Metrics;
  const supervisor = yield* Supervisor;
  yield* addCollector(() => taskFamilies(counters, supervisor.running()));
}));

/** Built last and closed first: in between the broker serves. */
const ready = Layer.effectDiscard(Effect.gen(function* () {
  const { open } = yield* Listeners;
  const admin = yield* AdminHttpServer;
  const readiness = yield* Readiness;
  const { counters } = yield* Metrics;
  yield* Effect.acquireRelease(
    Effect.sync(() => readiness.set(undefined)),
    () =>
      Effect.suspend(() => {
        readiness.set("draining");
        return Effect.logInfo("promptmq is stopping", { connections: counters.connectionsCurrent });
      }),
  );
  const metrics = admin.port === 0 ? undefined : formatBindAddress(admin);
  const addresses = Object.fromEntries(LISTENERS_BY_KEY.map((name) => [name, addressOf(open, name)]));
  const listed = open.filter(({ name }) => !LISTENERS_BY_KEY.includes(name)).map(describeListener);
  const listeners = listed.length === 0 ? undefined : listed;
  yield* Effect.logInfo("promptmq is ready", { ...addresses, listeners, metrics });
}));

/** Names of the listeners that the keys of section `server` open. */
const LISTENERS_BY_KEY: readonly string[] = ["tcp", "ws", "tls", "wss", "unix"];

function addressOf(open: readonly OpenListener[], name: string): string | undefined {
  return open.find((listener) => listener.name === name)?.address;
}

function describeListener({ name, type, address }: OpenListener): string {
  return `${name} ${type} ${address}`;
}

/** One line: a sentence for what an operator can change, stacks only for a bug. A death has been told already. */
function logStop(cause: Cause.Cause<unknown>): Effect.Effect<void> {
  return Cause.hasInterruptsOnly(cause) || Cause.squash(cause) instanceof FiberDied
    ? Effect.logInfo("promptmq has stopped")
    : Effect.logFatal("promptmq has failed", failureFields(cause));
}

function failUnlessInterrupted(cause: Cause.Cause<unknown>): Effect.Effect<never, BrokerFailed> {
  return Cause.hasInterruptsOnly(cause)
    ? Effect.interrupt
    : Effect.fail(new BrokerFailed({ cause: Cause.squash(cause) }));
}
