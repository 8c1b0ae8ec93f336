/**
 * Where benchmarks of the disk put their files: on the disk that is to be measured, and away when they are done.
 */

/** Makes an empty directory, says where it is, and removes it when the process ends. */
export function benchDirectory(name: string): string {
  const parent = Deno.env.get("PROMPTMQ_BENCH_DIR") ?? ".";
  const directory = Deno.makeTempDirSync({ dir: parent, prefix: `.bench-${name}-` });
  const { stdout } = new Deno.Command("df", { args: ["-T", directory], stdout: "piped", stderr: "null" }).outputSync();
  const fileSystem = new TextDecoder().decode(stdout).trim().split("\n").at(-1)?.replaceAll(/\s+/g, " ") ?? "unknown";
  // deno-lint-ignore no-console
  console.error(`directory ${directory}\nfile system ${fileSystem}`);
  globalThis.addEventListener("unload", () => Deno.removeSync(directory, { recursive: true }));
  return directory;
}
