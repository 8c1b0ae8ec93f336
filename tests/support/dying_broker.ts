/**
 * The real broker as a program, with a bug of its own: it comes out with the first message delivered at QoS 1 or 2, or
 * with the end of the broker.
 *
 * The first argument says where the throw leaves, `goodbye` or one of `BUGS`; the rest is the command line of the
 * broker.
 */
import { SessionManager } from "../../src/broker/session_manager.ts";
import { main } from "../../src/main.ts";
import { Outbox } from "../../src/session/outbox.ts";
import { StorageFailed } from "../../src/storage/model/errors.ts";

/** What happens instead of the delivery. */
const BUGS: Readonly<Record<string, () => void>> = {
  microtask: () => queueMicrotask(fail),
  timer: () => void setTimeout(fail, 0),
  rejection: () => void Promise.reject(new Error(BUG)),
  // Where the broker itself is: the end of a sync, and without one the end of a turn.
  commit: fail,
  storage: () => {
    throw new StorageFailed({ operation: "read", path: "the log", reason: "io", detail: "EIO: by a test" });
  },
  // The bug comes back whatever is done, the close included.
  "for ever": () => void setInterval(fail, 0),
};
const BUG = "a bug of the test";

function fail(): void {
  throw new Error(BUG);
}

function breakDelivery(happen: () => void): void {
  Outbox.prototype.deliverStored = () => {
    happen();
    return false;
  };
}

function breakGoodbye(): void {
  const { drain } = SessionManager.prototype;
  SessionManager.prototype.drain = function () {
    queueMicrotask(fail);
    drain.call(this);
  };
}

if (import.meta.main) {
  const [where, ...args] = Deno.args;
  const happen = BUGS[where ?? ""];
  if (happen === undefined) breakGoodbye();
  else breakDelivery(happen);
  main(args);
}
