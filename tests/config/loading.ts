/** Loading the broker's configuration from a file, an environment and flags that a test gives as text. */

import * as Effect from "effect/Effect";
import { load, type LoadedConfig, type Sources } from "../../src/config/load.ts";

/** What the sources of one case say. */
export interface Given {
  readonly file?: string;
  readonly env?: Record<string, string>;
  readonly flags?: Record<string, string>;
}

/** Runs with the sources of one case; the file is `c.yaml` in a directory of its own. */
export function withSources<T>(given: Given, use: (sources: Sources, directory: string) => T): T {
  const directory = Deno.makeTempDirSync();
  try {
    const path = `${directory}/c.yaml`;
    if (given.file !== undefined) Deno.writeTextFileSync(path, given.file);
    return use({
      configPath: undefined,
      searchPaths: [path],
      readEnv: () => given.env ?? {},
      flags: new Map(Object.entries(given.flags ?? {})),
    }, directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** The configuration that the sources make. */
export function loadGiven(given: Given): LoadedConfig {
  return withSources(given, (sources) => Effect.runSync(load(sources)));
}

/** The problems of sources that make none, with `c.yaml` as the name of the file. */
export function problemsOfGiven(given: Given): readonly string[] {
  return withSources(
    given,
    (sources, directory) =>
      Effect.runSync(Effect.flip(load(sources))).problems.map((problem) => problem.replaceAll(`${directory}/`, "")),
  );
}
