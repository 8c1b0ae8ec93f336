/**
 * The HTTP request that opens a WebSocket, and its answer, without I/O. [RFC 6455, 4.2; RFC 9112]
 *
 *   GET /mqtt HTTP/1.1                              HTTP/1.1 101 Switching Protocols
 *   Host: broker:8080                               Upgrade: websocket
 *   Upgrade: websocket                        ──▶   Connection: Upgrade
 *   Connection: Upgrade                             Sec-WebSocket-Accept: …
 *   Sec-WebSocket-Version: 13                       Sec-WebSocket-Protocol: mqtt
 *   Sec-WebSocket-Key: <16 bytes in base64>
 *   Sec-WebSocket-Protocol: mqtt
 *
 * Anything else gets an HTTP error and the end of the connection; there is no second request on it. A request with a
 * body is refused, so what follows the empty line are frames, for everyone on the way.
 */
import { createHash } from "node:crypto";

/** Largest request head that is read, its empty line included. */
export const HEAD_BYTES_MAX = 16_384;

/** What is written back. Without `accepted` it is a refusal, and the connection ends. */
export interface HandshakeAnswer {
  readonly response: Uint8Array;
  readonly accepted?: RequestOrigin;
}

/** What a request says about where it comes from. */
export interface RequestOrigin {
  /**
   * True when a connection from this host may be trusted like any other local one: it comes from a program, which
   * sends no Origin, or from a page of this host. A page of another site runs in a browser here too, but is a
   * stranger. What Host says does not count: a stranger's name can be made to lead here.
   */
  readonly isLocal: boolean;
  /** True when something stands in between, or the client pretends so: there is a field as HTTP proxies add them. */
  readonly isForwarded: boolean;
  /** Values of the fields `X-Forwarded-For`, in their order. */
  readonly forwardedFor: readonly string[];
}

/**
 * Looks for the empty line that ends a request head.
 *
 * @param from Where to begin to look; three bytes before the first new one.
 * @returns Offset of the first byte after the empty line, or -1.
 */
export function endOfHead(bytes: Uint8Array, from: number, end: number): number {
  for (let i = Math.max(0, from); i + 3 < end; i++) {
    if (bytes[i] === CR && bytes[i + 1] === LF && bytes[i + 2] === CR && bytes[i + 3] === LF) return i + 4;
  }
  return -1;
}

/** The answer to a request whose head is longer than `HEAD_BYTES_MAX`. */
export function refuseLongHead(): HandshakeAnswer {
  return refuse("431 Request Header Fields Too Large", "request head too long");
}

/** The answer to a request that is right, from a client that is not let in. */
export function refuseClient(): HandshakeAnswer {
  return refuse("403 Forbidden", "refused");
}

/**
 * Decides about one request.
 *
 * @param head The whole head, its empty line included.
 * @param path The configured path; `/` is always accepted too.
 */
export function answerHandshake(head: Uint8Array, path: string): HandshakeAnswer {
  const [requestLine = "", ...lines] = new TextDecoder("latin1").decode(head).slice(0, -4).split("\r\n");
  const request = REQUEST_LINE.exec(requestLine);
  const fields = parseFields(lines);
  if (request === null || fields === undefined) return refuse("400 Bad Request", "not an HTTP request");
  const [, method, target, version] = request;
  if (version !== "1.1") return refuse("505 HTTP Version Not Supported", "HTTP/1.1 only");
  if (!hasOneHost(fields)) return refuse("400 Bad Request", "one Host required");
  if (hasBody(fields)) return refuse("400 Bad Request", "no body allowed");
  const requestPath = pathOf(target!);
  if (requestPath !== path && requestPath !== "/") return refuse("404 Not Found", "not found");
  if (method !== "GET") return refuse("405 Method Not Allowed", "GET only", "Allow: GET");
  return answerUpgrade(fields);
}

function answerUpgrade(fields: Fields): HandshakeAnswer {
  const upgrades = tokensOf(fields, "upgrade").map((token) => token.toLowerCase());
  const options = tokensOf(fields, "connection").map((token) => token.toLowerCase());
  if (!upgrades.includes("websocket") || !options.includes("upgrade")) {
    return refuse("426 Upgrade Required", "MQTT over WebSocket only", "Upgrade: websocket");
  }
  const keys = fields.get("sec-websocket-key");
  if (keys?.length !== 1 || !NONCE.test(keys[0]!)) return refuse("400 Bad Request", "Sec-WebSocket-Key required");
  const versions = fields.get("sec-websocket-version");
  if (versions?.length !== 1 || versions[0] !== "13") {
    return refuse(
      "426 Upgrade Required",
      "WebSocket version 13 only",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
    );
  }
  const offered = tokensOf(fields, "sec-websocket-protocol");
  const subprotocol = SUBPROTOCOLS.find((name) => offered.includes(name));
  // [MQTT-6.0.0-3]
  if (subprotocol === undefined) return refuse("400 Bad Request", "subprotocol mqtt required");
  const response = encodeHead("101 Switching Protocols", [
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${createHash("sha1").update(keys[0]! + ACCEPT_SALT).digest("base64")}`,
    // [MQTT-6.0.0-4]
    `Sec-WebSocket-Protocol: ${subprotocol}`,
  ]);
  return { response, accepted: originOf(fields) };
}

/** Values by lower-case name, in the order they came. */
type Fields = ReadonlyMap<string, readonly string[]>;

/** Plain searches and no pattern that tries again: the cost is linear, whatever a stranger sends. */
function parseFields(lines: readonly string[]): Fields | undefined {
  const fields = new Map<string, string[]>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(colon, 0)).toLowerCase();
    if (!TOKEN.test(name) || CONTROL_CHARACTER.test(line)) return undefined;
    const value = line.slice(colon + 1).trim();
    const values = fields.get(name);
    if (values === undefined) fields.set(name, [value]);
    else values.push(value);
  }
  return fields;
}

/** [RFC 9112, 3.2] */
function hasOneHost(fields: Fields): boolean {
  const hosts = fields.get("host");
  return hosts?.length === 1 && HOST.test(hosts[0]!) && URL.canParse(`http://${hosts[0]}`);
}

function hasBody(fields: Fields): boolean {
  return fields.has("transfer-encoding") || fields.get("content-length")?.some((length) => length !== "0") === true;
}

/** All members of a list that may be spread over several fields of one name. */
function tokensOf(fields: Fields, name: string): string[] {
  return (fields.get(name) ?? []).flatMap((value) => value.split(",")).map((token) => token.trim());
}

/** The path of a request target, which a proxy may have made absolute. */
function pathOf(target: string): string | undefined {
  return target.startsWith("/") ? target.replace(/[?#].*$/, "") : URL.parse(target)?.pathname;
}

function originOf(fields: Fields): RequestOrigin {
  return {
    isLocal: isLocalOrigin(fields),
    isForwarded: FORWARDING_FIELDS.some((name) => fields.has(name)),
    forwardedFor: fields.get("x-forwarded-for") ?? [],
  };
}

function isLocalOrigin(fields: Fields): boolean {
  const origins = fields.get("origin");
  if (origins === undefined) return true;
  const url = origins.length === 1 ? URL.parse(origins[0]!) : null;
  return url !== null && LOCAL_HOST.test(url.hostname);
}

function refuse(status: string, text: string, ...fields: readonly string[]): HandshakeAnswer {
  const body = `${text}\n`;
  return {
    response: encodeHead(status, [
      ...fields,
      `Connection: ${fields.includes("Upgrade: websocket") ? "upgrade, close" : "close"}`,
      "Content-Type: text/plain",
      `Content-Length: ${body.length}`,
    ], body),
  };
}

function encodeHead(status: string, fields: readonly string[], body = ""): Uint8Array {
  return new TextEncoder().encode(`HTTP/1.1 ${status}\r\n${fields.join("\r\n")}\r\n\r\n${body}`);
}

/** Subprotocols a client may offer; `mqttv3.1` is what MQTT 3.1 clients send. */
const SUBPROTOCOLS = ["mqtt", "mqttv3.1"] as const;
/** What HTTP proxies add. Only the first is read; that one of them is there says enough. */
const FORWARDING_FIELDS = ["x-forwarded-for", "forwarded", "x-real-ip", "x-forwarded-host", "via"] as const;
/** Given by RFC 6455, 1.3. */
const ACCEPT_SALT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const REQUEST_LINE = /^([\w!#$%&'*+.^`|~-]+) ([\x21-\x7e]+) HTTP\/(\d\.\d)$/;
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;
// deno-lint-ignore no-control-regex -- a field holds no control characters but the tabulator
const CONTROL_CHARACTER = /[\x00-\x08\x0a-\x1f\x7f]/;
/** A name or an address, and perhaps a port. [RFC 3986, 3.2.2] */
const HOST = /^(?:\[[\dA-Fa-f:.]+\]|[\w.~!$&'()*+,;=%-]+)(?::\d*)?$/;
/** Sixteen bytes in base64. */
const NONCE = /^[A-Za-z0-9+/]{22}==$/;
const LOCAL_HOST = /^(?:(?:.+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;
const CR = 13;
const LF = 10;
