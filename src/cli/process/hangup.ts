/**
 * SIGHUP reloads the configuration.
 */

import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Queue from "effect/Queue";
import { ConfigStore } from "../../config/reload.ts";
import { Supervisor } from "../../logging/supervisor.ts";

/** Listens for SIGHUP. Signals that arrive during a reload are answered by one more. */
export const reloadOnHangup: Layer.Layer<never, never, ConfigStore | Supervisor> = Layer.effectDiscard(
  Effect.gen(function* () {
    const store = yield* ConfigStore;
    const hangups = yield* Queue.sliding<void>(1);
    const handler = () => void Queue.offerUnsafe(hangups, undefined);
    yield* Effect.acquireRelease(
      Effect.sync(() => Deno.addSignalListener("SIGHUP", handler)),
      () => Effect.sync(() => Deno.removeSignalListener("SIGHUP", handler)),
    );
    const reload = Effect.catchTag(store.reload, "ConfigInvalid", () => Effect.void);
    yield* Supervisor.fork("configuration reload", Effect.forever(Effect.andThen(Queue.take(hangups), reload)));
  }),
);
