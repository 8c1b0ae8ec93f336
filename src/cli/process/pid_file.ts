/**
 * The PID file: the process id as text, under an exclusive lock for as long as the broker runs.
 *
 * The lock, not the number, says whether the owner lives: the system releases it with the process, so a file left
 * behind by a crash is taken over even if its number now belongs to another process.
 */

import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { describeFileFailure } from "../../system/system_failure.ts";
import { PidFileUnavailable } from "./errors.ts";

/** Holds the PID file from start to end of the broker; without a path it does nothing. */
export function pidFileLayer(path: string | undefined): Layer.Layer<never, PidFileUnavailable> {
  if (path === undefined) return Layer.empty;
  return Layer.effectDiscard(
    Effect.acquireRelease(takePidFile(path), (file) => Effect.sync(() => releasePidFile(path, file))),
  );
}

function takePidFile(path: string): Effect.Effect<Deno.FsFile, PidFileUnavailable> {
  return Effect.suspend(() => {
    let file: Deno.FsFile | undefined;
    try {
      file = Deno.openSync(path, { read: true, write: true, create: true });
      if (!file.tryLockSync(true)) {
        const owner = Deno.readTextFileSync(path).trim();
        file.close();
        return Effect.fail(new PidFileUnavailable({ path, reason: `process ${owner} is running with it` }));
      }
      file.truncateSync(0);
      file.writeSync(new TextEncoder().encode(`${Deno.pid}\n`));
      return Effect.succeed(file);
    } catch (cause) {
      file?.close();
      // The file need not exist, so what was not found is its directory.
      const reason = cause instanceof Deno.errors.NotFound ? "its directory is not found" : describeFileFailure(cause);
      return Effect.fail(new PidFileUnavailable({ path, reason, cause }));
    }
  });
}

/** Removes the file while the lock is still held, so that nobody else's is removed. */
function releasePidFile(path: string, file: Deno.FsFile): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  } finally {
    file.close();
  }
}
