/**
 * The reasons for which clients are refused and limited: those that the code can count, and those that
 * `docs/refusals.md` explains. A test holds the two against each other.
 *
 * The code is searched as text, file by file; a file that refuses anybody and is not listed here is a finding of its
 * own. So a new reason, or a new way to refuse, does not get by without a row in the document.
 */
import assert from "node:assert/strict";

const ROOT = new URL("../../", import.meta.url);

/** One row of the document. */
export interface RefusalRow {
  readonly reason: string;
  /** Reason Code of CONNACK; undefined where the connection is closed without one. */
  readonly reasonCode: number | undefined;
  /** Return code of CONNACK before MQTT 5; undefined where there is none. */
  readonly returnCode: number | undefined;
}

/** The rows of the document, by the counter they are about. */
export interface RefusalDocument {
  readonly connects_refused: ReadonlyMap<string, RefusalRow>;
  readonly clients_limited: ReadonlyMap<string, RefusalRow>;
}

/** Reads `docs/refusals.md`; a reason that stands there twice is a failure. */
export function readRefusalDocument(): RefusalDocument {
  const text = Deno.readTextFileSync(new URL("docs/refusals.md", ROOT));
  const [, refused = "", limited = ""] = text.split(/^## (?:Refused|Limited)$/m);
  return { connects_refused: rowsOf(refused), clients_limited: rowsOf(limited) };
}

function rowsOf(section: string): Map<string, RefusalRow> {
  const rows = new Map<string, RefusalRow>();
  for (const [, reason, first = "", second = ""] of section.matchAll(/^\| `(\w+)` *\|([^|]*)\|([^|]*)\|/gm)) {
    assert.ok(!rows.has(reason!), `${reason} stands in the document twice`);
    rows.set(reason!, { reason: reason!, reasonCode: numberIn(first), returnCode: numberIn(second) });
  }
  return rows;
}

function numberIn(cell: string): number | undefined {
  return /^\s*(?:0x[0-9A-F]{2}|\d)\s*$/.test(cell) ? Number(cell) : undefined;
}

/** Where reasons stand in a file: the first group of each match is one, or holds several in quotation marks. */
type Places = readonly RegExp[];

const REFUSED_VERDICT = /\brefuse\(ReasonCode\.\w+, "(\w+)"\)/g;
const REFUSED_CLIENT = /\brefuse\(client, ("\w+")/g;
const COUNTED = /\bconnectsRefused\.add\(("\w+")\)/g;
/** A handshake is reported in one place, by one of two reasons. */
const REPORTED_HANDSHAKE = /\breason: ("tls_\w+" \| "tls_\w+")/g;
const UNION = /^(?:export )?type \w*(?:Refusal|Opened)\b =([^;]+);/gm;
/** Counted by the name of the Reason Code. */
const FAULT = /\bReasonCode\.([A-Z_]+)/g;

const REFUSING_FILES: Readonly<Record<string, Places>> = {
  "src/auth/identity/authenticator.ts": [REFUSED_VERDICT],
  // Makes the verdicts of all others.
  "src/auth/identity/identity.ts": [],
  "src/auth/certificate.ts": [REFUSED_VERDICT],
  "src/auth/http/http_auth.ts": [REFUSED_VERDICT],
  "src/auth/token/jwt.ts": [UNION, /\brefuseToken\("(\w+)"\)/g],
  "src/auth/token/jwt_claims.ts": [UNION],
  "src/auth/token/jwt_token.ts": [UNION],
  "src/auth/ldap/ldap.ts": [REFUSED_VERDICT],
  "src/auth/password/password_provider.ts": [REFUSED_VERDICT],
  "src/auth/password/scram.ts": [/\bfailure\("(\w+)"\)/g],
  "src/auth/password/scram_messages.ts": [/\breadonly reason: ([^;]+);/g],
  "src/broker/authentication.ts": [REFUSED_VERDICT],
  "src/broker/connect_refusals.ts": [],
  // Counts the refusals that the one before tells.
  "src/broker/counted_events.ts": [],
  "src/broker/connect_rules.ts": [FAULT],
  "src/listeners/entry/address_limits.ts": [UNION],
  "src/listeners/transport/connection.ts": [COUNTED],
  "src/listeners/entry/entrance.ts": [REFUSED_CLIENT],
  "src/listeners/entry/proxied_socket.ts": [REFUSED_CLIENT],
  "src/listeners/tls/tls_handshakes.ts": [REFUSED_CLIENT, REPORTED_HANDSHAKE],
  // What is wrong with the form of a CONNECT. The table of properties adds nothing to these.
  "src/protocol/codec_connect.ts": [FAULT],
  "src/protocol/packet_reader.ts": [FAULT],
};

/** Signs that a file refuses somebody. Ports that only describe it are no files of their own reasons. */
const REFUSING =
  /connectsRefused\.add\(|refuse\(client, "|refuse\(ReasonCode\.|kind: "(?:refuse|failure)",|: Refusal = |type \w+Refusal\b|new ConnectFault\(/;

/** All reasons that `promptmq_connects_refused_total` can have. */
export function refusalReasonsInCode(): ReadonlySet<string> {
  const reasons = new Set<string>();
  for (const [path, places] of Object.entries(REFUSING_FILES)) {
    const text = readSource(path);
    for (const place of places) {
      const found = [...text.matchAll(place)].flatMap(([, match = ""]) => namesIn(match));
      assert.ok(found.length > 0, `${path} has no reason at ${place}`);
      for (const name of found) reasons.add(name);
    }
  }
  for (const reason of constantRefusals()) reasons.add(reason);
  return reasons;
}

/** Files of `src` that refuse clients and that nobody looks for reasons in. */
export function unknownRefusingFiles(): string[] {
  const known = new Set([...Object.keys(REFUSING_FILES), "src/metrics/counters.ts"]);
  return sourcesIn("src").filter((path) => !known.has(path) && REFUSING.test(readSource(path)));
}

/** All reasons that `promptmq_clients_limited_total` can have. */
export function limitReasonsInCode(): ReadonlySet<string> {
  const path = "src/listeners/limits/traffic_limits.ts";
  const counting = sourcesIn("src").filter((other) => readSource(other).includes("clientsLimited.add("));
  assert.deepEqual(counting, [path]);
  const text = readSource(path);
  const shared = /take\(share: Share[^{]*\): ([^{]*) \| undefined \{/.exec(text)?.[1] ?? assert.fail("no shared rates");
  const reasons = [...text.matchAll(/this\.#report\(([^;]*)\);/g)].flatMap(([, argument = ""]) =>
    argument.includes("listener_${sharedRate}_wait")
      ? namesIn(shared).map((rate) => `listener_${rate}_wait`)
      : namesIn(argument).filter((name) => name !== "debug" && name !== "info")
  );
  return new Set(reasons);
}

/** The constants of type Refusal: their own reason, or the name of their Reason Code. */
function constantRefusals(): string[] {
  const text = readSource("src/broker/connect_refusals.ts");
  const constants = [...text.matchAll(/^export const \w+: Refusal = \{([^}]*)\}/gm)];
  assert.ok(constants.length > 0);
  return constants.map(([, body = ""]) =>
    /\breason: "(\w+)"/.exec(body)?.[1] ?? /\bReasonCode\.(\w+)/.exec(body)![1]!.toLowerCase()
  );
}

/** A match is one name, in lower case or as a constant, or code with names in quotation marks. */
function namesIn(match: string): string[] {
  if (/^\w+$/.test(match)) return [match.toLowerCase()];
  return [...match.matchAll(/"(\w+)"/g)].map(([, name]) => name!);
}

function readSource(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

function sourcesIn(folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder, ROOT))].flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    return isDirectory ? sourcesIn(path) : path.endsWith(".ts") ? [path] : [];
  }).sort();
}
