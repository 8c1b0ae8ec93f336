/**
 * Golden wire scenarios: what one or more clients send, and every packet the broker must answer, in order.
 *
 * A file is `{ about, flags?, config?, scenarios: [{ name, version?, steps }] }`; all scenarios of a file share one
 * broker started with its flags. A step names a client and does one thing:
 *
 *     { "client": "a", "connect": { "keepAlive": 10 }, "connack": { "sessionPresent": false } }
 *     { "client": "a", "send": { "publish": { "topic": "~/t", "qos": 1, "id": 7, "payload": "x" } } }
 *     { "client": "a", "send": "c0 00" }                            bytes as they are
 *     { "client": "a", "expect": { "puback": { "id": 7, "reasonCode": 16 } } }
 *     { "client": "a", "expectAnyOrder": [ …packets… ] }            where the specification leaves the order open
 *     { "client": "a", "quiet": true }      a PINGRESP is the next packet: nothing else was under way
 *     { "client": "a", "closed": true }     the broker ended the connection and sent nothing before
 *     { "client": "a", "drop": true }       the client's network dies
 *
 * `~` in a string stands for a prefix of the scenario, so that scenarios do not meet; a Client Identifier not given is
 * `~` and the client's name. Expected packets are compared whole, properties in wire order, with absent fields taking
 * the obvious default (no properties, Reason Code 0, QoS 0, flags clear). Three things are left open: a Reason String the
 * expectation does not name (its words are for people), the properties of a CONNACK given in the short form `connack`,
 * and a value written "?", which must be there with any value; "?name" also keeps it for use as "{name}" later.
 */
import assert from "node:assert/strict";
import { type Endpoint, RawClient, type Received } from "../../support/raw_client.ts";
import { fromHex } from "../../support/wire_bytes.ts";
import { encodeWire, type WireFields, type WirePacket, type WireType } from "../../support/wire_packets.ts";
import type { WireProperty } from "../../support/wire_properties.ts";

/** A packet as `{ type: fields }` with exactly one key. */
export type ScenarioPacket = Readonly<Partial<Record<WireType, WireFields>>>;

/** One thing one client does or sees; exactly one of the keys beside `client` is present, `connack` goes with `connect`. */
export interface ScenarioStep {
  readonly client: string;
  readonly connect?: WireFields;
  readonly connack?: WireFields;
  readonly open?: true;
  readonly send?: ScenarioPacket | string;
  readonly expect?: ScenarioPacket;
  /** With `expect`: no Reason String either. */
  readonly bare?: true;
  readonly expectAnyOrder?: readonly ScenarioPacket[];
  readonly quiet?: true;
  readonly closed?: true;
  readonly drop?: true;
}

/** One conversation. */
export interface Scenario {
  /** Unique; holds the ids of the statements it proves in brackets. */
  readonly name: string;
  /** Protocol Level of its clients unless a connect names another; 5 when absent. */
  readonly version?: number;
  readonly steps: readonly ScenarioStep[];
}

/** One file of scenarios. */
export interface ScenarioFile {
  readonly about: string;
  readonly flags?: readonly string[];
  readonly config?: string;
  readonly scenarios: readonly Scenario[];
}

/** The directory that holds the scenario files. */
export const SCENARIO_DIRECTORY = new URL("./", import.meta.url);

/** Lists the scenario files in order of their names. */
export function scenarioFiles(): readonly string[] {
  return Array.from(Deno.readDirSync(SCENARIO_DIRECTORY), (entry) => entry.name)
    .filter((name) => name.endsWith(".json")).sort();
}

/** Reads one scenario file; the shape is trusted, since a wrong one fails the run that uses it. */
export function readScenarioFile(name: string): ScenarioFile {
  return JSON.parse(Deno.readTextFileSync(new URL(name, SCENARIO_DIRECTORY)));
}

/**
 * Plays a scenario against a broker and throws at the first difference, naming the step.
 *
 * @param prefix Replaces `~`; must differ between scenarios of one broker.
 */
export async function playScenario(scenario: Scenario, endpoint: Endpoint, prefix: string): Promise<void> {
  const stage = new Stage(scenario, endpoint, prefix);
  try {
    for (const [index, step] of scenario.steps.entries()) {
      try {
        await stage.play(step);
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        throw new Error(`step ${index + 1} of "${scenario.name}" (${JSON.stringify(step)}): ${text}`, { cause: error });
      }
    }
  } finally {
    await stage.close();
  }
}

class Stage {
  readonly #clients = new Map<string, RawClient>();
  readonly #opened: RawClient[] = [];
  readonly #versions = new Map<string, number>();
  readonly #kept = new Map<string, string>();

  constructor(readonly scenario: Scenario, readonly endpoint: Endpoint, readonly prefix: string) {}

  async play(step: ScenarioStep): Promise<void> {
    if (step.connect !== undefined || step.open === true) return await this.#connect(step);
    const client = this.#client(step.client);
    if (step.send !== undefined) return await client.send(this.#encode(step.send, step.client));
    if (step.expect !== undefined) return await this.#expect(client, step, step.expect);
    if (step.expectAnyOrder !== undefined) return await this.#expectAnyOrder(client, step.client, step.expectAnyOrder);
    if (step.quiet === true) return await client.expectQuiet();
    if (step.closed === true) return await client.expectClose();
    if (step.drop === true) return await client.close();
    throw new Error("the step says nothing to do");
  }

  async close(): Promise<void> {
    for (const client of this.#opened) await client.close();
  }

  async #connect(step: ScenarioStep): Promise<void> {
    const fields = this.#resolve(step.connect ?? {});
    const version = fields.version ?? this.scenario.version ?? 5;
    const client = await RawClient.open(this.endpoint, version);
    this.#opened.push(client);
    this.#clients.set(step.client, client);
    this.#versions.set(step.client, version);
    if (step.connect === undefined) return;
    const clientId = fields.clientId ?? `${this.prefix}${step.client}`;
    await client.send(encodeWire("connect", { ...fields, clientId }, version));
    if (step.connack === undefined) return;
    const { wire } = await client.expect("connack");
    const spare = wire.properties === undefined ? {} : { properties: wire.properties };
    const expected: WirePacket = { type: "connack", ...spare, ...this.#resolve(step.connack) };
    this.#compare(wire, expected, version);
  }

  #client(name: string): RawClient {
    const client = this.#clients.get(name);
    assert.ok(client, `client ${name} was never connected`);
    return client;
  }

  #encode(packet: ScenarioPacket | string, name: string): Uint8Array {
    if (typeof packet === "string") return fromHex(packet);
    const [type, fields] = this.#single(packet);
    return encodeWire(type, fields, this.#versions.get(name) ?? 5);
  }

  async #expect(client: RawClient, step: ScenarioStep, packet: ScenarioPacket): Promise<void> {
    const [type, fields] = this.#single(packet);
    const { wire } = await client.expect(type);
    if (step.bare === true) assert.ok(!hasReasonString(wire), "no Reason String is wanted here");
    this.#compare(wire, { type, ...fields }, this.#versions.get(step.client) ?? 5);
  }

  async #expectAnyOrder(client: RawClient, name: string, packets: readonly ScenarioPacket[]): Promise<void> {
    const version = this.#versions.get(name) ?? 5;
    const received: Received[] = [];
    for (const _ of packets) {
      const next = await client.next("one of several packets");
      assert.ok(next, "the connection ended where a packet was expected");
      received.push(next);
    }
    const wanted = packets.map((packet) => this.#single(packet)).map(([type, fields]) => ({ type, ...fields }));
    for (const { wire } of received) {
      const index = wanted.findIndex((candidate) => this.#matches(wire, candidate, version));
      assert.notEqual(index, -1, `unexpected ${JSON.stringify(wire)}; still wanted ${JSON.stringify(wanted)}`);
      wanted.splice(index, 1);
    }
  }

  #matches(wire: WirePacket, expected: WirePacket, version: number): boolean {
    try {
      this.#compare(wire, expected, version);
      return true;
    } catch (error) {
      if (error instanceof assert.AssertionError) return false;
      throw error;
    }
  }

  #compare(wire: WirePacket, expected: WirePacket, version: number): void {
    const whole = withDefaults(expected, version);
    assert.deepEqual(this.#settle(withoutSpareReason(wire, whole), whole), whole);
  }

  /** Replaces received values that are expected as "?" by that expectation, keeping the named ones. */
  #settle(wire: WirePacket, expected: WirePacket): WirePacket {
    const properties = wire.properties?.map((property, index): WireProperty => {
      const wanted = expected.properties?.[index]?.[1];
      if (typeof wanted !== "string" || !wanted.startsWith("?")) return property;
      this.#kept.set(wanted.slice(1), String(property[1]));
      return [property[0], wanted];
    });
    return properties === undefined ? wire : { ...wire, properties };
  }

  #single(packet: ScenarioPacket): [WireType, WireFields] {
    const entries = Object.entries(this.#resolve(packet));
    assert.equal(entries.length, 1, "a packet has exactly one type");
    // The key is one of the types, or encoding and comparing refuse it.
    return entries[0] as [WireType, WireFields];
  }

  #resolve<T>(value: T): T {
    const text = JSON.stringify(value).replaceAll("~", this.prefix).replaceAll(
      /\{(\w+)\}/g,
      (whole, name) => this.#kept.get(name) ?? whole,
    );
    return JSON.parse(text);
  }
}

function withDefaults(packet: WirePacket, version: number): WirePacket {
  const properties = version === 5 && packet.type !== "pingresp" ? { properties: [] } : {};
  const reason = version === 5 ? { reasonCode: 0 } : {};
  switch (packet.type) {
    case "connack":
      return { sessionPresent: false, reasonCode: 0, ...properties, ...packet };
    case "publish":
      return { payload: "", qos: 0, retain: false, dup: false, ...properties, ...packet };
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp":
    case "disconnect":
    case "auth":
      return { ...reason, ...properties, ...packet };
    default:
      return { ...properties, ...packet };
  }
}

function withoutSpareReason(wire: WirePacket, expected: WirePacket): WirePacket {
  if (wire.properties === undefined || hasReasonString(expected)) return wire;
  return { ...wire, properties: wire.properties.filter(([name]) => name !== "reasonString") };
}

function hasReasonString(packet: WirePacket): boolean {
  return packet.properties?.some(([name]) => name === "reasonString") === true;
}
