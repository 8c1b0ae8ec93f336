/**
 * A warning for whoever runs a broker that everybody may use: Clients without credentials are accepted from other
 * hosts. It may be meant, as in a closed network, so it is said and not refused.
 */

import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { listenersOf } from "../config/checks/listener_list.ts";
import type { Config } from "../config/options/schema.ts";
import { ConfigStore } from "../config/reload.ts";
import { Log } from "../logging/log.ts";
import { Listeners, type OpenListener } from "./listeners.ts";

/** Warns at the start, and when a reload of `auth.allow-anonymous` lets strangers in. */
export const warnOfAnonymousClients = Layer.effectDiscard(Effect.gen(function* () {
  const { open } = yield* Listeners;
  const log = yield* Log;
  const store = yield* ConfigStore;
  let warnedOf = "";
  const apply = (config: Config) => {
    const addresses = openAddresses(open, config).join(" or ");
    const isNew = addresses !== "" && addresses !== warnedOf;
    warnedOf = addresses;
    if (isNew) log.write("warn", `anyone who reaches ${addresses} may connect without credentials`);
  };
  apply(store.current());
  yield* store.subscribe(apply);
}));

/** Addresses at which clients from other hosts need to prove nothing. */
function openAddresses(open: readonly OpenListener[], config: Config): string[] {
  const entries = listenersOf(config);
  return open.filter(({ name, type, address }) => {
    if (type === "unix" || isLoopback(address)) return false;
    const entry = entries.find((configured) => configured.name === name);
    // A certificate is proof enough, whatever the policy for those who show none.
    if (entry?.clientAuth === "require") return false;
    return (entry?.allowAnonymous ?? config.auth.allowAnonymous) === true;
  }).map(({ address }) => address);
}

/** Whether only this host reaches an address as a listener gives it: IP address and port. */
function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address.startsWith("::1:") || address.startsWith("[::1]:");
}
