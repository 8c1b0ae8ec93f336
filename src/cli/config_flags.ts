/**
 * The command line flags of the configuration, generated from the option schema, and the sources they make.
 *
 * Values stay text here: the loader judges them together with file and environment, so that all problems are reported
 * at once.
 */

import * as Option from "effect/Option";
import * as Flag from "effect/cli/Flag";
import type { IndexedOption } from "../config/kinds/option.ts";
import type { Sources } from "../config/load.ts";
import { OPTIONS } from "../config/options/schema.ts";

/** What the flags of one command line said. */
export interface ConfigFlagValues {
  readonly config: Option.Option<string>;
  readonly options: { readonly [flagName: string]: Option.Option<string> };
}

/** `--config` and one flag per option, for every command that loads the configuration. */
export const CONFIG_FLAGS = {
  config: Flag.String("config").pipe(
    Flag.withAlias("c"),
    Flag.withMetavar("file"),
    Flag.withDescription("Configuration file, YAML or JSON"),
    Flag.optional,
  ),
  options: Object.fromEntries(OPTIONS.options.map((option) => [option.flagName, flagOf(option)])),
};

/**
 * The sources of this process: these flags, its environment, and the usual places for a file.
 *
 * The environment is read at every load.
 */
export function sourcesOf(values: ConfigFlagValues): Sources {
  const flags = new Map<string, string>();
  for (const [name, text] of Object.entries(values.options)) if (Option.isSome(text)) flags.set(name, text.value);
  const home = Deno.env.get("HOME");
  return {
    configPath: Option.getOrUndefined(values.config),
    searchPaths: [
      "./promptmq.yaml",
      "./.promptmq.yaml",
      ...home === undefined || home === "" ? [] : [`${home}/.promptmq.yaml`],
    ],
    readEnv: () => Deno.env.toObject(),
    flags,
  };
}

function flagOf(option: IndexedOption): Flag.Flag<Option.Option<string>> {
  const { metavar } = option.type;
  const base = metavar === undefined
    ? Flag.map(Flag.Boolean(option.flagName), String)
    : Flag.withMetavar(Flag.String(option.flagName), metavar);
  const fallback = option.defaultText === "" ? '""' : option.defaultText;
  const description = `${option.doc.replaceAll("`", "")} [default: ${fallback}] [env: ${option.envName}]`;
  return base.pipe(Flag.withDescription(description), Flag.optional);
}
