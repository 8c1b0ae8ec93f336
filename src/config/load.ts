/**
 * From flags, environment, file and defaults to one frozen configuration, or to every problem at once.
 *
 * Precedence per key: flag > environment > file > default. A value that is overridden is still checked: a wrong line
 * in a file does not hide behind a flag. Where each value came from is kept for `config show --origin`. When every value
 * is good by itself, it is asked whether they fit each other (`consistency.ts`).
 */

import * as Effect from "effect/Effect";
import { describeFileFailure } from "../system/system_failure.ts";
import { problemsOf } from "./checks/consistency.ts";
import { ConfigInvalid } from "./errors.ts";
import type { OptionIndex, Section, ValuesOf } from "./kinds/option.ts";
import { type Config, OPTIONS, type SCHEMA } from "./options/schema.ts";
import { decodeDefault, decodeSetting, type Origin } from "./reading/decode.ts";
import { quote, readFileSource, readTextSetting, type Setting, type SourceReading } from "./reading/file_source.ts";

/** Where the values come from. Asked again at every load, so a reload sees what changed. */
export interface Sources {
  /** The file given with `--config`, or undefined to search. */
  readonly configPath: string | undefined;
  /** Files tried in order without `--config`; the first that exists is read, none is fine. */
  readonly searchPaths: readonly string[];
  /** All environment variables; those that start with `PROMPTMQ_` must be known. */
  readonly readEnv: () => Readonly<Record<string, string | undefined>>;
  /** Text by flag name without dashes. Names are trusted: the command line knows the flags of the schema. */
  readonly flags: ReadonlyMap<string, string>;
}

/** A configuration and its history. `C` is the type of the configuration. */
export interface Loaded<C> {
  readonly config: C;
  /** One per option, in the order of the schema. */
  readonly origins: readonly Origin[];
  /** The file that was read, if any. */
  readonly filePath: string | undefined;
}

/** The broker's own configuration as loaded. */
export type LoadedConfig = Loaded<Config>;

/**
 * Loads the broker's configuration. Fails with every problem of all sources at once.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect";
 * import { load } from "./load.ts";
 *
 * const flags = new Map([["max-qos", "1"]]);
 * const sources = { configPath: undefined, searchPaths: [], readEnv: () => ({}), flags };
 * const { config } = Effect.runSync(load(sources));
 * console.assert(config.mqtt.maxQos === 1);
 * ```
 */
export function load(sources: Sources): Effect.Effect<LoadedConfig, ConfigInvalid> {
  return Effect.flatMap(loadWith<typeof SCHEMA>(OPTIONS, sources), (loaded) => {
    const problems = problemsOf(loaded.config);
    return problems.length > 0 ? Effect.fail(new ConfigInvalid({ problems })) : Effect.succeed(loaded);
  });
}

/**
 * Every value by itself, for any schema: `S` is the schema the index was built from. Whether the values fit each other is
 * the business of {@link load}.
 */
export function loadWith<S extends Section>(
  index: OptionIndex,
  sources: Sources,
): Effect.Effect<Loaded<ValuesOf<S>>, ConfigInvalid> {
  return Effect.suspend(() => {
    const file = readConfigFile(sources, index);
    const problems: string[] = [];
    const values = new Map(index.options.map((option) => [option, decodeDefault(option)]));
    const readings = [file.reading, readEnvSource(sources.readEnv(), index), readFlagSource(sources.flags, index)];
    for (const found of readings.flat()) {
      const decoded = typeof found === "string" ? [found] : decodeSetting(found);
      if ("text" in decoded) values.set(decoded.option, decoded);
      else problems.push(...decoded);
    }
    if (problems.length > 0) return Effect.fail(new ConfigInvalid({ problems }));
    const origins = [...values.values()];
    return Effect.succeed({ config: buildConfig<S>(origins), origins, filePath: file.path });
  });
}

/** The frozen configuration made of these values. `S` is the schema their options belong to. */
export function buildConfig<S extends Section>(origins: readonly Origin[]): ValuesOf<S> {
  const root: MutableTree = {};
  for (const { option, value } of origins) {
    let section = root;
    for (const field of option.path.slice(0, -1)) section = (section[field] ??= {}) as MutableTree;
    section[option.path.at(-1) ?? ""] = value;
  }
  return deepFreeze(root) as ValuesOf<S>;
}

interface MutableTree {
  [field: string]: unknown;
}

interface FileReading {
  readonly reading: SourceReading;
  readonly path: string | undefined;
}

function readConfigFile(sources: Sources, index: OptionIndex): FileReading {
  for (const path of sources.configPath === undefined ? sources.searchPaths : [sources.configPath]) {
    let text: string;
    try {
      text = Deno.readTextFileSync(path);
    } catch (error) {
      // A place we only search need not exist, and the permissions of the process may not cover it.
      if (sources.configPath === undefined && isAbsence(error)) continue;
      const place = sources.configPath === undefined ? "" : " (flag --config)";
      return { reading: [`cannot read ${quote(path)}${place}: ${describeFileFailure(error)}`], path };
    }
    return { reading: readFileSource(path, text, index), path };
  }
  return { reading: [], path: undefined };
}

/** Also for a home directory that is none, as system users have. */
function isAbsence(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory ||
    error instanceof Deno.errors.NotCapable;
}

function readEnvSource(env: Readonly<Record<string, string | undefined>>, index: OptionIndex): SourceReading {
  return Object.entries(env).flatMap<Setting | string>(([name, text]) => {
    if (!name.startsWith("PROMPTMQ_") || text === undefined || KUBERNETES_SERVICE_LINK.test(name)) return [];
    const option = index.byEnvName(name);
    if (option !== undefined) return [readTextSetting(option, text, `env ${name}`)];
    const nearest = index.nearestEnvName(name);
    return [`${name}: unknown environment variable${nearest === undefined ? "" : `; did you mean ${nearest}?`}`];
  });
}

/**
 * Kubernetes gives every container such variables for each Service in its namespace; one named `promptmq` must not
 * keep the broker from starting.
 */
const KUBERNETES_SERVICE_LINK =
  /^PROMPTMQ_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

function readFlagSource(flags: ReadonlyMap<string, string>, index: OptionIndex): SourceReading {
  return index.options.flatMap((option) => {
    const text = flags.get(option.flagName);
    return text === undefined ? [] : [readTextSetting(option, text, `flag --${option.flagName}`)];
  });
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}
