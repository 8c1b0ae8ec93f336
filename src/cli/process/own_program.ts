/**
 * How to start this program again, from source, as one bundled file or as one executable.
 */

const PERMISSIONS = ["net", "read", "write", "env", "sys", "run", "ffi", "import"] as const;

/**
 * What stands between `Deno.execPath()` and the arguments of the program: nothing for an executable; under `deno run`
 * the module and the permissions of this process.
 *
 * @returns The reason when that is not possible: partial permissions cannot be asked back from the runtime and are
 *   refused rather than widened.
 */
export function runtimeArguments(): readonly string[] | string {
  if (Deno.build.standalone) return [];
  const granted: string[] = [];
  for (const name of PERMISSIONS) {
    const status = Deno.permissions.querySync({ name });
    if (status.partial) return `the permission --allow-${name} is limited, which cannot be handed on`;
    if (status.state === "granted") granted.push(`--allow-${name}`);
  }
  return ["run", "--no-prompt", ...granted, Deno.mainModule];
}
