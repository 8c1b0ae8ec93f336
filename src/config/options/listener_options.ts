/**
 * The options of one entry of the `listeners` list, and the list itself as a kind of value.
 *
 * An entry says here only what it says; what it takes over from section `server` is added by `listener_list.ts`, and
 * whether its parts fit each other is judged by `listener_consistency.ts`.
 */

import * as Option from "effect/Option";
import * as Result from "effect/Result";
import * as Schema from "effect/Schema";
import { wordList } from "../kinds/list_types.ts";
import { type IndexedOption, option, OptionIndex, type SectionRecord, type ValuesOf } from "../kinds/option.ts";
import {
  bindAddress,
  boolean,
  integer,
  oneOf,
  optional,
  optionalPath,
  optionalText,
  rate,
  size,
  textCodec,
  type ValueType,
} from "../kinds/value_types.ts";
import type { ClientAuth, ListenerEntry } from "./listener_entry.ts";

/** A listener as its entry says it. `listenersOf` makes it complete. */
export interface ListedListener extends Omit<ListenerEntry, "clientAuth"> {
  /** Undefined = as `server.tls-client-auth`. */
  readonly clientAuth: ClientAuth | undefined;
  /** Empty = as `server.ws-path`. */
  readonly wsPath: string;
}

const CONNECTIONS_MAX = 10_000_000;

const ENTRY = {
  name: option({
    key: "name",
    type: listenerName(),
    defaultText: "listener",
    isRequired: true,
    reload: "restart",
    doc: "What logs and metrics call the listener; unique. `tcp`, `tls`, `ws`, `wss` and `unix` are the names of the " +
      "listeners of section `server`, while they are enabled.",
  }),
  type: option({
    key: "type",
    type: oneOf("tcp", "tls", "ws", "wss", "unix"),
    defaultText: "tcp",
    isRequired: true,
    reload: "restart",
    doc:
      "How clients come in: MQTT over TCP, over TLS, over WebSocket, over WebSocket with TLS, or over a Unix socket.",
  }),
  bind: option({
    key: "bind",
    type: bindAddress(),
    defaultText: "",
    reload: "restart",
    doc: "Address of the listener; needed for every type but `unix`.",
  }),
  path: option({
    key: "path",
    type: optionalText(),
    defaultText: "",
    reload: "restart",
    doc: "For `unix` the path of the socket. For `ws` and `wss` the URL path; without it that of `server.ws-path`.",
  }),
  tlsCert: option({
    key: "tls.cert",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    doc: "For `tls` and `wss`, PEM file with the certificate and its chain; without it that of `server.tls-cert`.",
  }),
  tlsKey: option({
    key: "tls.key",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    doc: "For `tls` and `wss`, PEM file with the key of the certificate; without it that of `server.tls-key`.",
  }),
  tlsCa: option({
    key: "tls.ca",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    doc:
      "For `tls` and `wss`, PEM file with the authorities that sign the certificates of clients; without it that of " +
      "`server.tls-ca`.",
  }),
  clientAuth: option({
    key: "tls.client-auth",
    type: optional(oneOf("none", "optional", "require")),
    defaultText: "",
    reload: "restart",
    doc:
      "For `tls` and `wss`, whether clients show a certificate, see `server.tls-client-auth`, which holds without it.",
  }),
  proxyProtocol: option({
    key: "proxy-protocol",
    type: boolean(),
    defaultText: "false",
    reload: "restart",
    doc:
      "Whether every connection begins with a PROXY protocol header, see `server.proxy-protocol`, which does not count " +
      "for the entries of this list.",
  }),
  protocolVersions: option({
    key: "protocol-versions",
    type: wordList("3.1", "3.1.1", "5"),
    defaultText: "",
    reload: "restart",
    doc: "Versions of MQTT that are served; without it all.",
  }),
  allowAnonymous: option({
    key: "allow-anonymous",
    type: optional(oneOf(true, false, "loopback")),
    defaultText: "",
    reload: "restart",
    doc: "Who may connect here without credentials; without it `auth.allow-anonymous` says it.",
  }),
  maxConnections: option({
    key: "max-connections",
    type: integer({ min: 0, max: CONNECTIONS_MAX }),
    defaultText: "0",
    reload: "restart",
    doc: "Most connections of this listener at one time; 0 = only `mqtt.max-connections` counts.",
  }),
  connectRate: option({
    key: "connect-rate",
    type: rate(),
    defaultText: "0",
    reload: "restart",
    doc: "New connections per second; more wait. 0 = as `limits.connect-rate`.",
  }),
  messageRate: option({
    key: "message-rate",
    type: rate(),
    defaultText: "0",
    reload: "restart",
    doc: "PUBLISH packets per second of all its clients together; 0 = unbounded.",
  }),
  byteRate: option({
    key: "byte-rate",
    type: size({ min: 0 }),
    defaultText: "0",
    reload: "restart",
    doc: "Bytes per second received from all its clients together; 0 = unbounded.",
  }),
};

/** The options of one entry. */
export const ENTRY_OPTIONS: OptionIndex = new OptionIndex(ENTRY);

/** The option `listeners`. */
export const listeners = option({
  key: "listeners",
  type: listenerList(),
  defaultText: "[]",
  reload: "restart",
  doc:
    "Further listeners, each with its own address and rules, besides those of section `server`. In a flag or in the " +
    "environment the list is written as in the file, in YAML or JSON.",
  entries: ENTRY_OPTIONS,
  example: `listeners:
  - name: local
    type: tcp
    bind: 127.0.0.1:1884
    allow-anonymous: true
  - name: devices
    type: tls
    bind: 0.0.0.0:8885
    tls:
      cert: /etc/promptmq/server.pem
      key: /etc/promptmq/server.key
      ca: /etc/promptmq/devices-ca.pem
      client-auth: require
    protocol-versions: [3.1.1, 5]
    max-connections: 5000`,
});

type EntryValues = ValuesOf<typeof ENTRY>;

/** Its text is JSON: one {@link SectionRecord} per listener. */
function listenerList(): ValueType<readonly ListedListener[]> {
  const target = Schema.declare((value): value is readonly ListedListener[] => Array.isArray(value));
  return {
    codec: textCodec(target, parseRecords, (list) => JSON.stringify(list.map(recordOf))),
    expected: "a list of listeners",
    metavar: "list",
  };
}

function listenerName(): ValueType<string> {
  return {
    codec: textCodec(
      Schema.String,
      (text) => /^[a-z0-9][a-z0-9_.-]{0,63}$/i.test(text) ? Option.some(text) : Option.none(),
      (name) => name,
    ),
    expected: "a name of at most 64 letters, digits and the characters - _ .",
    metavar: "name",
  };
}

function parseRecords(text: string): Option.Option<readonly ListedListener[]> {
  let records: readonly SectionRecord[];
  try {
    records = JSON.parse(text);
  } catch {
    return Option.none();
  }
  const list = records.map(parseRecord);
  return list.every((listener) => listener !== undefined) ? Option.some(list) : Option.none();
}

function parseRecord(record: SectionRecord): ListedListener | undefined {
  const values: Record<string, unknown> = {};
  for (const known of ENTRY_OPTIONS.options) {
    const decoded = Schema.decodeResult(known.type.codec)(record[known.key] ?? known.defaultText);
    if (Result.isFailure(decoded)) return undefined;
    values[fieldOf(known)] = decoded.success;
  }
  // Every option of ENTRY has put its value under its field.
  const { path, ...rest } = values as unknown as EntryValues;
  const isUnix = rest.type === "unix";
  return { ...rest, socketPath: isUnix ? path : undefined, wsPath: isUnix ? "" : path ?? "" };
}

function recordOf({ socketPath, wsPath, ...rest }: ListedListener): SectionRecord {
  const values: EntryValues = { ...rest, path: socketPath ?? (wsPath === "" ? undefined : wsPath) };
  return Object.fromEntries(ENTRY_OPTIONS.options.flatMap((known) => {
    const value = (values as Readonly<Record<string, unknown>>)[fieldOf(known)];
    const text = Schema.encodeSync(known.type.codec)(value);
    return known.isRequired === true || text !== known.defaultText ? [[known.key, text]] : [];
  }));
}

function fieldOf({ path }: IndexedOption): string {
  return path[0] ?? "";
}
