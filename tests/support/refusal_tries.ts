/**
 * Ways to be refused, tried on a whole broker and held against `docs/refusals.md`: the code on the wire, the counter, and
 * the log.
 */
import assert from "node:assert/strict";
import type { LogLine } from "./broker.ts";
import { connectCode } from "./connect_attempt.ts";
import { readRefusalDocument, type RefusalRow } from "./refusal_reasons.ts";
import type { WatchedBroker } from "./watched_broker.ts";
import type { WireFields } from "./wire_packets.ts";

const DOCUMENT = readRefusalDocument().connects_refused;

/** What the document promises about a reason. */
export function rowOf(reason: string): RefusalRow {
  return DOCUMENT.get(reason) ?? assert.fail(`no row for ${reason}`);
}

/** One way to be refused, tried with MQTT 5 and 3.1.1 as far as the document has a code. */
export interface Refusal {
  readonly reason: string;
  readonly fields: WireFields;
  /** Name of the listener, which takes the client's address from a proxy. */
  readonly listener?: string;
}

/** Tries refusals, each attempt from an address of its own, and remembers them. */
export class RefusalTries {
  readonly #broker: WatchedBroker;
  /** Addresses that were refused, one entry for each time, by reason. */
  readonly #refused = new Map<string, string[]>();
  #host = 0;

  constructor(broker: WatchedBroker) {
    this.#broker = broker;
  }

  /** An address that no other attempt has. */
  freshAddress(): string {
    this.#host++;
    return `198.18.${this.#host >> 8}.${this.#host & 255}`;
  }

  /** Takes note of a refusal that a test brings about itself. */
  note(reason: string, address: string): void {
    this.#refused.set(reason, [...this.#refused.get(reason) ?? [], address]);
  }

  /** Tries one way in each family of versions; demands the codes of the document, and the counter. */
  async refused({ reason, fields, listener = "everybody" }: Refusal): Promise<void> {
    const { reasonCode, returnCode } = rowOf(reason);
    for (const [version, expected] of [[5, reasonCode], [4, returnCode]] as const) {
      if (expected === undefined) continue;
      const clientId = fields.clientId ?? `c-${reason}`;
      const address = this.freshAddress();
      this.note(reason, address);
      const code = await connectCode(this.#broker.endpoint(listener), { version, ...fields, clientId }, address);
      assert.equal(code, expected, `${reason}, protocol level ${version}`);
    }
    await this.counted(reason);
  }

  /** Demands that the counter has as many refusals as there were. */
  async counted(reason: string): Promise<void> {
    assert.equal(await this.#broker.count("connects_refused", reason), this.#refused.get(reason)!.length, reason);
  }

  /** Looks into the whole log: the lines of each reason account for all its refusals, and name one of the clients. */
  checkLog(log: readonly LogLine[]): void {
    for (const [reason, addresses] of this.#refused) {
      // The form of a CONNECT is a matter for debugging.
      if (reason === "malformed_packet" || reason === "protocol_error") continue;
      const lines = log.filter((line) => line["reason"] === reason);
      assert.ok(lines.length > 0, `no line for ${reason}`);
      checkAccounts(lines, addresses.length);
      for (const line of lines) checkFields(line, addresses);
    }
  }
}

/**
 * Lines that are written once a second: one for the first event, and later ones that say how many were held back before
 * them, whether they are about another event or only say so at the end of the second. So there are two per second at
 * most.
 */
export function checkAccounts(lines: readonly LogLine[], events: number): void {
  const suppressed = lines.reduce((sum, line) => sum + Number(line["suppressed"] ?? 0), 0);
  assert.equal(lines[0]!["suppressed"], undefined);
  assert.ok(suppressed + 1 <= events && events <= suppressed + lines.length, `${events} in ${JSON.stringify(lines)}`);
  const seconds = (Date.parse(String(lines.at(-1)!["ts"])) - Date.parse(String(lines[0]!["ts"]))) / 1000;
  assert.ok(lines.length <= 2 * (seconds + 1), `more lines than seconds: ${JSON.stringify(lines)}`);
}

const ALWAYS = ["ts", "level", "msg", "reason", "remoteAddress", "listener"];
const AT_TIMES = ["detail", "suppressed"];
const OF_CONNECT = ["clientId", "username"];

function checkFields(line: LogLine, addresses: readonly string[]): void {
  assert.equal(line.level, "warn");
  assert.ok(addresses.includes(String(line["remoteAddress"])), `${JSON.stringify(line)} is about another client`);
  const isConnect = line.msg === "connect refused";
  if (!isConnect) assert.equal(line.msg, "connection refused");
  const known = [...ALWAYS, ...AT_TIMES, ...(isConnect ? OF_CONNECT : [])];
  for (const name of isConnect ? [...ALWAYS, "clientId"] : ALWAYS) assert.notEqual(line[name], undefined, name);
  assert.deepEqual(Object.keys(line).filter((name) => !known.includes(name)), []);
}
