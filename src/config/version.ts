/**
 * The version of this program, taken from the manifest so that it is written once.
 */

import manifest from "../../deno.json" with { type: "json" };

/** Version of PromptMQ, for `--version`, the logs and `$SYS/broker/version`. */
export const VERSION: string = manifest.version;
