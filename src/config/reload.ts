/**
 * The configuration of the running broker: what is in force, and how a new one takes its place.
 *
 * A reload asks the same sources again. If anything in them is wrong nothing changes. Otherwise keys marked `live` are
 * taken over and their owners told; keys marked `restart` keep the value they had and are named in a warning.
 */

import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import type * as Scope from "effect/Scope";
import { problemsOf } from "./checks/consistency.ts";
import { ConfigInvalid } from "./errors.ts";
import { buildConfig, load, type LoadedConfig, type Sources } from "./load.ts";
import type { Config, SCHEMA } from "./options/schema.ts";
import type { Origin } from "./reading/decode.ts";

/** What a reload did, as keys in the order of the schema. */
export interface ReloadReport {
  /** Keys whose new value is in force. */
  readonly applied: readonly string[];
  /** Keys whose new value waits for a restart. */
  readonly pending: readonly string[];
}

/** Called with the configuration in force after a reload that changed it; must not throw and must not wait. */
export type ConfigListener = (config: Config) => void;

/** Holds the configuration in force. Owners read what they need from it once and subscribe to what is `live`. */
export class ConfigStore extends Context.Service<ConfigStore, {
  /** The frozen configuration in force; a plain getter, but meant for construction and listeners, not per packet. */
  readonly current: () => Config;
  /** Where each value in force came from. */
  readonly origins: () => readonly Origin[];
  /**
   * Reads the sources again and applies what may change. Logs the outcome; with `ConfigInvalid` nothing has changed.
   * Reloads are not concurrent: sources are read and listeners called in one synchronous stretch.
   */
  readonly reload: Effect.Effect<ReloadReport, ConfigInvalid>;
  /** Calls the listener after every reload that changed something, until the scope closes. Not called at once. */
  readonly subscribe: (listener: ConfigListener) => Effect.Effect<void, never, Scope.Scope>;
}>()("promptmq/config/ConfigStore") {
  /**
   * @param initial The configuration the process started with.
   * @param sources Where it came from; asked again at every reload.
   */
  static readonly layer = (initial: LoadedConfig, sources: Sources): Layer.Layer<ConfigStore> =>
    Layer.sync(ConfigStore, () => {
      const listeners = new Set<ConfigListener>();
      let inForce = initial;
      const apply = (loaded: LoadedConfig): Effect.Effect<ReloadReport, ConfigInvalid> => {
        const { next, report } = merge(inForce, loaded);
        // New live values may fit the new file and not the values that wait for a restart.
        const problems = problemsOf(next.config).map((problem) => `${problem} (until the broker is started again)`);
        if (problems.length > 0) return Effect.fail(new ConfigInvalid({ problems }));
        inForce = next;
        if (report.applied.length > 0) { for (const listener of [...listeners]) listener(next.config); }
        return Effect.succeed(report);
      };
      return ConfigStore.of({
        current: () => inForce.config,
        origins: () => inForce.origins,
        reload: load(sources).pipe(
          Effect.flatMap(apply),
          Effect.tap(logReport),
          Effect.tapError((error) =>
            Effect.forEach(error.problems, (problem) => Effect.logError("configuration reload refused", { problem }), {
              discard: true,
            })
          ),
        ),
        subscribe: (listener) =>
          Effect.asVoid(Effect.acquireRelease(
            Effect.sync(() => listeners.add(listener)),
            () => Effect.sync(() => listeners.delete(listener)),
          )),
      });
    });
}

const logReport = Effect.fnUntraced(function* (report: ReloadReport) {
  yield* Effect.logInfo("configuration reloaded", { applied: report.applied });
  if (report.pending.length > 0) {
    yield* Effect.logWarning("configuration change needs a restart", { keys: report.pending });
  }
});

/** The configuration that results when only what is live changes hands. */
function merge(inForce: LoadedConfig, loaded: LoadedConfig): { next: LoadedConfig; report: ReloadReport } {
  const applied: string[] = [];
  const pending: string[] = [];
  const origins = loaded.origins.map((origin, position) => {
    const old = inForce.origins[position];
    if (old === undefined || old.text === origin.text) return origin;
    if (origin.option.reload === "live") {
      applied.push(origin.option.key);
      return origin;
    }
    pending.push(origin.option.key);
    return old;
  });
  const config = applied.length === 0 ? inForce.config : buildConfig<typeof SCHEMA>(origins);
  return { next: { config, origins, filePath: loaded.filePath }, report: { applied, pending } };
}
