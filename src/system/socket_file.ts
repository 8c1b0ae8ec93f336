/**
 * The file of a Unix socket: cleared of a dead predecessor before listening, and its owner's alone. The runtime removes it
 * when the listener is closed.
 *
 * A file that is not a socket, or a socket on which somebody answers, is never touched.
 */
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import * as Runtime from "effect/Runtime";
import { describeFileFailure, UNAVAILABLE_EXIT_CODE } from "./system_failure.ts";

/** The path of a Unix socket cannot be listened on; the broker does not start. */
export class SocketPathTaken extends Data.TaggedError("SocketPathTaken")<{
  readonly path: string;
  /** `not_a_socket`: another kind of file is there; `answered`: another process listens. */
  readonly reason: "not_a_socket" | "answered" | "other";
  /** What the runtime threw, for reason `other`. */
  readonly cause?: unknown;
}> {
  override get message(): string {
    return `Cannot listen for MQTT on Unix socket ${JSON.stringify(this.path)}: ${this.#why}`;
  }

  get #why(): string {
    if (this.reason === "not_a_socket") {
      return "the file is there and is not a socket; remove it or choose another path";
    }
    if (this.reason === "answered") return "another process listens on it; stop that process or choose another path";
    return describeFileFailure(this.cause);
  }

  override readonly [Runtime.errorExitCode] = UNAVAILABLE_EXIT_CODE;
}

/** Removes the socket that a process which is gone has left behind. */
export function clearSocketPath(path: string): Effect.Effect<void, SocketPathTaken> {
  return Effect.tryPromise({
    try: async () => {
      const info = lookAt(path);
      if (info === undefined) return;
      if (info.isSocket !== true) throw new SocketPathTaken({ path, reason: "not_a_socket" });
      if (await answers(path)) throw new SocketPathTaken({ path, reason: "answered" });
      Deno.removeSync(path);
    },
    catch: (cause) => cause instanceof SocketPathTaken ? cause : new SocketPathTaken({ path, reason: "other", cause }),
  });
}

/**
 * Runs `listen`, which must create the socket's file before it returns, so that the file is its owner's alone (mode
 * 0600).
 *
 * From the first moment on where the program may change its umask, which takes the right to ask the system everything;
 * without that right the file has the mode of the umask for an instant, and 022, the usual one, lets nobody else in.
 */
export function listenPrivately<T>(path: string, listen: () => T): T {
  let before: number;
  try {
    before = Deno.umask(0o177);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    const listener = listen();
    Deno.chmodSync(path, 0o600);
    return listener;
  }
  try {
    return listen();
  } finally {
    Deno.umask(before);
  }
}

function lookAt(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function answers(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused || error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
