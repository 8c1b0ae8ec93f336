/**
 * The options of what one client, one address or one listener may ask of the broker.
 */

import { option } from "../kinds/option.ts";
import { durationMs, integer, oneOf, rate, size } from "../kinds/value_types.ts";

const DAY_MS = 86_400_000;

/** Options of section `limits`. */
export const limits = {
  connectRate: option({
    key: "limits.connect-rate",
    type: rate(),
    defaultText: "0",
    reload: "live",
    doc: "New connections per second that each listener accepts; more wait. 0 = unbounded.",
  }),
  connectRatePerAddress: option({
    key: "limits.connect-rate-per-address",
    type: rate(),
    defaultText: "0",
    reload: "live",
    doc:
      "New connections per second from one address; more are refused. IPv6 addresses count by their /64 network. 0 = " +
      "unbounded.",
  }),
  connectionsPerAddress: option({
    key: "limits.connections-per-address",
    type: integer({ min: 0 }),
    defaultText: "0",
    reload: "live",
    doc:
      "Most connections from one address at one time; more are refused. IPv6 addresses count by their /64 network. 0 = " +
      "unbounded.",
  }),
  messageRate: option({
    key: "limits.message-rate",
    type: rate(),
    defaultText: "0",
    reload: "live",
    doc: "PUBLISH packets per second from one client, see `limits.rate-exceeded`; 0 = unbounded.",
  }),
  byteRate: option({
    key: "limits.byte-rate",
    type: size({ min: 0 }),
    defaultText: "0",
    reload: "live",
    doc: "Bytes per second from one client, see `limits.rate-exceeded`; 0 = unbounded.",
  }),
  rateExceeded: option({
    key: "limits.rate-exceeded",
    type: oneOf("wait", "disconnect"),
    defaultText: "wait",
    reload: "live",
    doc:
      "What happens to a client above its rate. `wait`: it is not read from until it is below. `disconnect`: it is cut, " +
      "with Message rate too high (0x96) if it speaks MQTT 5.",
  }),
  subscriptionsPerClient: option({
    key: "limits.subscriptions-per-client",
    type: integer({ min: 0 }),
    defaultText: "65536",
    reload: "live",
    doc: "Most subscriptions of one Session; more are refused with Quota exceeded (0x97). 0 = unbounded.",
  }),
  flappingCount: option({
    key: "limits.flapping-count",
    type: integer({ min: 0, max: 100_000 }),
    defaultText: "0",
    reload: "live",
    doc: "How many times within `limits.flapping-window` one client may connect; with one more it is banned for " +
      "`limits.flapping-ban`. 0 = off.",
  }),
  flappingWindowMs: option({
    key: "limits.flapping-window",
    type: durationMs({ min: 1000, max: DAY_MS }),
    defaultText: "1m",
    reload: "live",
    doc: "Time over which `limits.flapping-count` counts.",
  }),
  flappingBanMs: option({
    key: "limits.flapping-ban",
    type: durationMs({ min: 1000, max: 365 * DAY_MS }),
    defaultText: "5m",
    reload: "live",
    doc: "How long a client that connects too often is banned.",
  }),
  memoryHighWaterBytes: option({
    key: "limits.memory-high-water",
    type: size({ min: 0 }),
    defaultText: "0",
    reload: "live",
    doc:
      "Memory of the process above which clients are not read from, except for what makes room, until it is below again; " +
      "0 = 80 % of the memory of the machine.",
  }),
};
