/**
 * The options of the process: its log, its listeners and its life.
 */

import { addressList } from "../kinds/list_types.ts";
import { option } from "../kinds/option.ts";
import { bindAddress, boolean, durationMs, integer, oneOf, optionalPath, size, urlPath } from "../kinds/value_types.ts";

const DAY_MS = 86_400_000;
const BUFFER_BYTES_MAX = 16 * 2 ** 20;

/** Options of section `log`. */
export const log = {
  level: option({
    key: "log.level",
    type: oneOf("trace", "debug", "info", "warn", "error", "fatal"),
    defaultText: "info",
    reload: "live",
    flag: "log-level",
    doc: "Least severe level that is logged.",
  }),
  format: option({
    key: "log.format",
    type: oneOf("auto", "json", "console"),
    defaultText: "auto",
    reload: "restart",
    flag: "log-format",
    doc: "Form of the log lines. `auto` is `console` on a terminal and `json` otherwise.",
  }),
  file: option({
    key: "log.file",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    doc: "File to log to, with rotation. Without it the log goes to standard error.",
  }),
  maxSizeBytes: option({
    key: "log.max-size",
    type: size({ min: 1024 }),
    defaultText: "100MB",
    reload: "restart",
    doc: "Size at which the log file is rotated.",
  }),
  maxFiles: option({
    key: "log.max-files",
    type: integer({ min: 1, max: 1000 }),
    defaultText: "5",
    reload: "restart",
    doc: "Rotated log files that are kept besides the current one.",
  }),
};

/** Options of section `server`. */
export const server = {
  bind: option({
    key: "server.bind",
    type: bindAddress(),
    defaultText: "0.0.0.0:1883",
    reload: "restart",
    flag: "bind",
    doc: 'Address of the TCP listener; `""` disables it.',
  }),
  wsBind: option({
    key: "server.ws-bind",
    type: bindAddress(),
    defaultText: "0.0.0.0:8080",
    reload: "restart",
    flag: "ws-bind",
    doc: 'Address of the WebSocket listener; `""` disables it.',
  }),
  wsPath: option({
    key: "server.ws-path",
    type: urlPath(),
    defaultText: "/mqtt",
    reload: "restart",
    doc: "URL path of the WebSocket listener. `/` is accepted as well.",
  }),
  tls: option({
    key: "server.tls",
    type: boolean(),
    defaultText: "false",
    reload: "restart",
    flag: "tls",
    doc:
      "Whether there are listeners with TLS at `server.tls-bind` and `server.wss-bind`, besides those without. TLS 1.2 " +
      'and 1.3 are spoken. To have no listener without TLS set `server.bind` and `server.ws-bind` to `""`.',
  }),
  tlsCert: option({
    key: "server.tls-cert",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    flag: "tls-cert",
    doc:
      "PEM file with the certificate of the broker, followed by its chain. When its content changes, new connections " +
      "get the new certificate.",
  }),
  tlsKey: option({
    key: "server.tls-key",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    flag: "tls-key",
    doc:
      "PEM file with the key of the certificate, without passphrase. Its content is taken over together with that of " +
      "`server.tls-cert`.",
  }),
  tlsCa: option({
    key: "server.tls-ca",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    flag: "tls-ca",
    doc:
      "PEM file with the authorities that sign the certificates of clients, see `server.tls-client-auth`. When its " +
      "content changes it counts for new connections.",
  }),
  tlsBind: option({
    key: "server.tls-bind",
    type: bindAddress(),
    defaultText: "0.0.0.0:8883",
    reload: "restart",
    flag: "tls-bind",
    doc: 'Address of the listener for MQTT over TLS, with `server.tls`; `""` disables it.',
  }),
  wssBind: option({
    key: "server.wss-bind",
    type: bindAddress(),
    defaultText: "0.0.0.0:8084",
    reload: "restart",
    flag: "wss-bind",
    doc: 'Address of the listener for WebSocket over TLS, with `server.tls`; `""` disables it.',
  }),
  tlsClientAuth: option({
    key: "server.tls-client-auth",
    type: oneOf("none", "optional", "require"),
    defaultText: "none",
    reload: "restart",
    doc:
      "Whether clients show a certificate on TLS. `none`: they are not asked. `optional`: one that is shown has to be " +
      "signed by `server.tls-ca`. `require`: connections without such a certificate are refused in the handshake.",
  }),
  unixSocket: option({
    key: "server.unix-socket",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    doc: "Path of a Unix socket to listen on for MQTT without TLS. Its clients count as clients on this host.",
  }),
  proxyProtocol: option({
    key: "server.proxy-protocol",
    type: boolean(),
    defaultText: "false",
    reload: "restart",
    doc:
      "Whether every connection to the listeners of this section, but the Unix socket, begins with a PROXY protocol " +
      "header, version 1 or 2, sent by one of `server.trusted-proxies`. Others are cut.",
  }),
  trustedProxies: option({
    key: "server.trusted-proxies",
    type: addressList(),
    defaultText: "127.0.0.0/8,::1",
    reload: "live",
    doc: "Addresses and networks of proxies that are believed when they say where a client comes from, in a PROXY " +
      "protocol header or in `X-Forwarded-For`. Whoever is on this list can pretend to be any address.",
  }),
  readBufferBytes: option({
    key: "server.read-buffer",
    type: size({ min: 256, max: BUFFER_BYTES_MAX }),
    defaultText: "4096",
    reload: "restart",
    flag: "read-buffer",
    doc:
      "Size of the read buffer of a connection when its first traffic comes; it grows under load, and idle it is smaller.",
  }),
  writeBufferBytes: option({
    key: "server.write-buffer",
    type: size({ min: 256, max: BUFFER_BYTES_MAX }),
    defaultText: "4096",
    reload: "restart",
    flag: "write-buffer",
    doc: "Starting size of the write buffer of a connection; it grows under load.",
  }),
  readTimeoutMs: option({
    key: "server.read-timeout",
    type: durationMs({ min: 1, max: DAY_MS }),
    defaultText: "30s",
    reload: "live",
    flag: "read-timeout",
    doc: "Time within which a new connection must have sent its CONNECT.",
  }),
  writeTimeoutMs: option({
    key: "server.write-timeout",
    type: durationMs({ min: 1, max: DAY_MS }),
    defaultText: "30s",
    reload: "live",
    flag: "write-timeout",
    doc: "Time after which a connection whose peer takes no bytes is cut.",
  }),
  daemon: option({
    key: "server.daemon",
    type: boolean(),
    defaultText: "false",
    reload: "restart",
    flag: "daemon",
    doc:
      "Run in the background: prints the process id and returns. Needs the run permission; set `log.file` as well, " +
      "since a background process has no standard error.",
  }),
  pidFile: option({
    key: "server.pid-file",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    flag: "pid-file",
    doc: "File that holds the process id while the broker runs. A second broker with the same file does not start.",
  }),
  shutdownTimeoutMs: option({
    key: "server.shutdown-timeout",
    type: durationMs({ min: 1, max: DAY_MS }),
    defaultText: "10s",
    reload: "live",
    doc: "Time for an orderly stop; what is not closed by then is cut.",
  }),
};
