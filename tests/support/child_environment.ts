/**
 * The environment of a broker under test: nothing of what this process was started with reaches it, neither a
 * `PROMPTMQ_` variable of the test run nor a configuration in the home directory of whoever runs it.
 */

/**
 * The whole environment of a child process; start it with `clearEnv`.
 *
 * @param more Added to it, or in place of what it would be.
 */
export function childEnvironment(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const path = Deno.env.get("PATH");
  return {
    ...path === undefined ? {} : { PATH: path },
    HOME: "/nonexistent",
    DENO_DIR: denoDirectory(),
    NO_COLOR: "1",
    ...more,
  };
}

/** The cache of this process, which the other HOME would hide. */
function denoDirectory(): string {
  const home = Deno.env.get("HOME");
  const caches = Deno.build.os === "darwin"
    ? `${home}/Library/Caches`
    : Deno.env.get("XDG_CACHE_HOME") ?? `${home}/.cache`;
  return Deno.env.get("DENO_DIR") ?? `${caches}/deno`;
}
