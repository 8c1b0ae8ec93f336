/**
 * A file system so small that a test can fill it: a tmpfs in a directory of its own, unmounted and removed at the end.
 */
import assert from "node:assert/strict";
import { findTool, runTool, type Tool } from "../support/tools.ts";

/** A mounted file system. */
export interface SmallFileSystem extends AsyncDisposable {
  readonly path: string;
  /** For the broker; within `path`. */
  readonly data: string;
}

/** Mounts one. @param size As mount takes it, such as `8m`. */
export async function mountSmall(mount: Tool, size: string): Promise<SmallFileSystem> {
  const path = await Deno.makeTempDir({ prefix: "promptmq_small_" });
  await succeed(mount, ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path]);
  return {
    path,
    data: `${path}/data`,
    [Symbol.asyncDispose]: async () => {
      await succeed(findTool("umount"), [path]);
      await Deno.remove(path);
    },
  };
}

/** Changes how it is mounted: `ro` or `rw`. */
export async function remount(mount: Tool, { path }: SmallFileSystem, option: string): Promise<void> {
  await succeed(mount, ["-o", `remount,${option}`, path]);
}

/** Writes a file of so many bytes, or of all that there are; returns its path. */
export async function fill(path: string, bytes = Infinity): Promise<string> {
  const filler = `${path}/filler`;
  using file = await Deno.open(filler, { write: true, createNew: true });
  try {
    for (let written = 0; written < bytes;) written += await file.write(FILLING);
  } catch (error) {
    // The runtime has no class for ENOSPC.
    if (bytes !== Infinity || !/os error 28/.test(String(error))) throw error;
  }
  return filler;
}

const FILLING = new Uint8Array(4096);

async function succeed(tool: Tool, args: readonly string[]): Promise<void> {
  const { code, stderr } = await runTool(tool, args);
  assert.equal(code, 0, stderr);
}
