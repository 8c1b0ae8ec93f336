/**
 * The property table of MQTT 5.0 for tests: identifiers, names and data types, in the order of the wire.
 *
 * A property list is a list of pairs, not an object: order and repetition are part of what tests check.
 */
import { ByteReader, ByteWriter, fromHex, toHex } from "./wire_bytes.ts";

/** One property as a readable pair; binary values are hexadecimal, User Properties are a pair of strings. */
export type WireProperty = readonly [name: string, value: number | string | readonly [string, string]];

type DataType = "byte" | "uint16" | "uint32" | "variable" | "text" | "binary" | "pair";

const TABLE: ReadonlyArray<readonly [id: number, name: string, type: DataType]> = [
  [0x01, "payloadFormatIndicator", "byte"],
  [0x02, "messageExpiryInterval", "uint32"],
  [0x03, "contentType", "text"],
  [0x08, "responseTopic", "text"],
  [0x09, "correlationData", "binary"],
  [0x0b, "subscriptionIdentifier", "variable"],
  [0x11, "sessionExpiryInterval", "uint32"],
  [0x12, "assignedClientIdentifier", "text"],
  [0x13, "serverKeepAlive", "uint16"],
  [0x15, "authenticationMethod", "text"],
  [0x16, "authenticationData", "binary"],
  [0x17, "requestProblemInformation", "byte"],
  [0x18, "willDelayInterval", "uint32"],
  [0x19, "requestResponseInformation", "byte"],
  [0x1a, "responseInformation", "text"],
  [0x1c, "serverReference", "text"],
  [0x1f, "reasonString", "text"],
  [0x21, "receiveMaximum", "uint16"],
  [0x22, "topicAliasMaximum", "uint16"],
  [0x23, "topicAlias", "uint16"],
  [0x24, "maximumQoS", "byte"],
  [0x25, "retainAvailable", "byte"],
  [0x26, "userProperty", "pair"],
  [0x27, "maximumPacketSize", "uint32"],
  [0x28, "wildcardSubscriptionAvailable", "byte"],
  [0x29, "subscriptionIdentifiersAvailable", "byte"],
  [0x2a, "sharedSubscriptionAvailable", "byte"],
];

/** Writes a property list with its length prefix. [MQTT-2.2.2-1] */
export function writeProperties(writer: ByteWriter, properties: readonly WireProperty[]): void {
  const body = new ByteWriter();
  for (const [name, value] of properties) {
    const row = TABLE.find((candidate) => candidate[1] === name);
    if (row === undefined) throw new Error(`unknown property ${name}`);
    body.byte(row[0]);
    writeValue(body, row[2], value);
  }
  const bytes = body.finish();
  writer.variable(bytes.length).raw(bytes);
}

/** Reads a property list with its length prefix; an identifier outside the table throws. */
export function readProperties(reader: ByteReader): WireProperty[] {
  const body = new ByteReader(reader.raw(reader.variable()));
  const properties: WireProperty[] = [];
  while (body.remaining > 0) {
    const id = body.variable();
    const row = TABLE.find((candidate) => candidate[0] === id);
    if (row === undefined) throw new Error(`unknown property identifier 0x${id.toString(16)}`);
    properties.push([row[1], readValue(body, row[2])]);
  }
  return properties;
}

function writeValue(writer: ByteWriter, type: DataType, value: WireProperty[1]): void {
  if (typeof value === "number") {
    if (type === "byte") writer.byte(value);
    else if (type === "uint16") writer.uint16(value);
    else if (type === "uint32") writer.uint32(value);
    else if (type === "variable") writer.variable(value);
    else throw new Error(`a number cannot be written as ${type}`);
    return;
  }
  if (typeof value === "string") {
    if (type === "binary") writer.binary(fromHex(value));
    else if (type === "text") writer.text(value);
    else throw new Error(`a string cannot be written as ${type}`);
    return;
  }
  if (type !== "pair") throw new Error(`a pair cannot be written as ${type}`);
  writer.text(value[0]).text(value[1]);
}

function readValue(reader: ByteReader, type: DataType): WireProperty[1] {
  switch (type) {
    case "byte":
      return reader.byte();
    case "uint16":
      return reader.uint16();
    case "uint32":
      return reader.uint32();
    case "variable":
      return reader.variable();
    case "text":
      return reader.text();
    case "binary":
      return toHex(reader.binary());
    case "pair":
      return [reader.text(), reader.text()];
  }
}
