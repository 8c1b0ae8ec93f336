/**
 * What goes wrong with a configuration, as one typed error that carries every problem at once.
 */

import * as Data from "effect/Data";
import * as Runtime from "effect/Runtime";
import { CONFIG_EXIT_CODE } from "../system/system_failure.ts";

/**
 * The sources cannot be turned into a configuration.
 *
 * `problems` is never empty; each is one line that names the key, the place, what was expected and what was got,
 * fit to be printed as it is. Values of secret options are not in it.
 */
export class ConfigInvalid extends Data.TaggedError("ConfigInvalid")<{ readonly problems: readonly string[] }> {
  override get message(): string {
    return this.problems.join("\n");
  }

  override readonly [Runtime.errorExitCode] = CONFIG_EXIT_CODE;
}
