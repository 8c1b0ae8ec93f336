/**
 * A warning for whoever runs a broker that everybody may use: Clients without credentials are accepted from other
 * hosts. It may be meant, as in a closed network, so it is said and not refused.
 */

import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { ConfigStore } from "./config/reload.ts";
import type { Config } from "./config/schema.ts";
import { Listeners } from "./listeners/listeners.ts";
import { Log } from "./logging/log.ts";

/** Warns at the start, and when a reload of `auth.allow-anonymous` lets strangers in. */
export const warnOfOpenDoor = Layer.effectDiscard(Effect.gen(function* () {
  const { tcp, websocket } = yield* Listeners;
  const log = yield* Log;
  const store = yield* ConfigStore;
  const doors = [tcp, websocket].filter((address) => address !== undefined && !isLoopback(address)).join(" or ");
  let isOpen = false;
  const apply = (config: Config) => {
    const wasOpen = isOpen;
    isOpen = config.auth.allowAnonymous === true && doors !== "";
    if (isOpen && !wasOpen) log.write("warn", `anyone who reaches ${doors} may connect, publish and subscribe`);
  };
  apply(store.current());
  yield* store.subscribe(apply);
}));

/** Whether only this host reaches an address as a listener gives it: IP address and port. */
function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address.startsWith("::1:") || address.startsWith("[::1]:");
}
