/**
 * Starting the broker in the background: this program again, detached from the terminal, with the same arguments.
 *
 * A process cannot put itself into the background, so the parent starts a child, says its process id and ends. Under
 * `deno run` the child gets the permissions of the parent; partial ones cannot be asked back from the runtime and are
 * therefore refused rather than widened.
 */

import * as Effect from "effect/Effect";
import { DaemonFailed } from "./errors.ts";
import { runtimeArguments } from "./own_program.ts";

/**
 * Starts the background process.
 *
 * @param args The arguments of this process; `--daemon` is taken out so that the child stays what it is.
 * @returns The process id of the child, which has been started but may still be starting up.
 */
export function startDaemon(args: readonly string[]): Effect.Effect<number, DaemonFailed> {
  return Effect.suspend(() => {
    const prefix = runtimeArguments();
    if (typeof prefix === "string") return Effect.fail(new DaemonFailed({ reason: `${prefix}; ${INSTEAD}` }));
    return Effect.try({
      try: () => {
        const child = new Deno.Command(Deno.execPath(), {
          args: [...prefix, ...withoutDaemonFlag(args), "--no-daemon"],
          stdin: "null",
          stdout: "null",
          stderr: "null",
          detached: true,
        }).spawn();
        child.unref();
        return child.pid;
      },
      catch: (cause) => {
        const reason = cause instanceof Deno.errors.NotCapable
          ? `the permission to start programs is missing; ${INSTEAD}`
          : cause instanceof Error
          ? cause.message
          : String(cause);
        return new DaemonFailed({ reason, cause });
      },
    });
  });
}

/** The arguments without `--daemon`, `--daemon=…` and `--daemon true`. */
export function withoutDaemonFlag(args: readonly string[]): string[] {
  return args.filter((arg, position) => {
    if (arg === "--daemon" || arg.startsWith("--daemon=")) return false;
    return !(args[position - 1] === "--daemon" && /^(true|yes|on|1)$/i.test(arg));
  });
}

/** What works where the permissions of the process do not. */
const INSTEAD = "run it with deno run -A src/main.ts --daemon";
