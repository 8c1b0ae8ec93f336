/**
 * Every option of the broker, declared once: key, type, default, unit, meaning, and whether a change needs a restart.
 *
 * Types, environment names, flags, help, validation, `config show` and the reference in docs/configuration.md are all
 * derived from this declaration. An option is here only if something honours it.
 */

import { option, OptionIndex, type ValuesOf } from "../kinds/option.ts";
import { bindAddress, boolean, integer, urlPath } from "../kinds/value_types.ts";
import { auth } from "./auth_options.ts";
import { limits } from "./limit_options.ts";
import { listeners } from "./listener_options.ts";
import { mqtt } from "./mqtt_options.ts";
import { log, server } from "./server_options.ts";
import { storage } from "./storage_options.ts";

const metrics = {
  enabled: option({
    key: "metrics.enabled",
    type: boolean(),
    defaultText: "true",
    reload: "restart",
    flag: "metrics",
    doc: "Whether the HTTP server for metrics and health is started.",
  }),
  bind: option({
    key: "metrics.bind",
    type: bindAddress(),
    defaultText: "0.0.0.0:9090",
    reload: "restart",
    flag: "metrics-bind",
    doc: 'Address of the HTTP server for metrics and health; `""` disables it.',
  }),
  path: option({
    key: "metrics.path",
    type: urlPath(),
    defaultText: "/metrics",
    reload: "restart",
    flag: "metrics-path",
    doc: "URL path of the metrics.",
  }),
  topics: option({
    key: "metrics.topics",
    type: integer({ min: 0, max: 100_000 }),
    defaultText: "100",
    reload: "live",
    doc: "How many of the busiest topics get series of their own; 0 = none.",
  }),
};

const cluster = {
  enabled: option({
    key: "cluster.enabled",
    type: boolean(),
    defaultText: "false",
    reload: "restart",
    flag: "cluster",
    refused: { true: "clusters are not in this version" },
    doc: "Whether this broker is a member of a cluster. Clusters are not in this version: `true` is refused.",
  }),
};

/** All sections of the configuration; keys are the field names of {@link Config}. */
export const SCHEMA = { log, server, listeners, mqtt, limits, auth, storage, metrics, cluster };

/** The decoded configuration: deeply frozen, units in the field names, the same object until a reload. */
export type Config = ValuesOf<typeof SCHEMA>;

/** Every option by any of its spellings. */
export const OPTIONS: OptionIndex = new OptionIndex(SCHEMA);
