/**
 * The directory of a crash test: one that it made, or an empty one; never somebody's data.
 */

import { describeFileFailure } from "../../system/system_failure.ts";

/** Says that everything beside it was made by a crash test and may go. */
const MARKER_NAME = "made-by-promptmq-crashtest";

/**
 * Makes the directory ready and empty.
 *
 * @returns The path for the broker's data, or the reason why the directory is not touched.
 */
export function prepareDirectory(directory: string): { readonly dataPath: string } | { readonly reason: string } {
  try {
    Deno.mkdirSync(directory, { recursive: true });
    const path = Deno.realPathSync(directory);
    const names = Array.from(Deno.readDirSync(path), ({ name }) => name);
    if (names.length > 0 && !names.includes(MARKER_NAME)) {
      return { reason: `${directory} is not empty and was not made by a crash test` };
    }
    Deno.writeTextFileSync(`${path}/${MARKER_NAME}`, "promptmq crashtest empties this directory when it starts.\n");
    const dataPath = `${path}/data`;
    if (names.includes("data")) Deno.removeSync(dataPath, { recursive: true });
    return { dataPath };
  } catch (cause) {
    return { reason: `${directory} cannot be used: ${describeFileFailure(cause)}` };
  }
}
