/**
 * Writes properties: from an object to a property area on the wire. [MQTT 5.0, 2.2.2]
 *
 * The counterpart of `decodeProperties`. Properties come out by ascending identifier; User Properties and Subscription
 * Identifiers keep their order [MQTT-3.1.3-10].
 */

import { PacketWriter } from "./packet_writer.ts";
import type { ConnackProperties, UserProperty } from "./packets.ts";
import type { Properties } from "./properties.ts";
import { PROPERTY_IDS, PROPERTY_NAMES, PROPERTY_TYPES, PropertyId, PropertyType } from "./property_table.ts";

/**
 * Encodes properties without the Property Length.
 *
 * @param properties Fields that are undefined are left out. That they belong to the packet and fit their types is the
 *   caller's to know; a value that does not fit throws.
 */
export function encodeProperties(properties: Properties | ConnackProperties): Uint8Array {
  const values = properties as Readonly<Record<string, unknown>>;
  const writer = new PacketWriter();
  for (const id of PROPERTY_IDS) {
    const value = values[PROPERTY_NAMES[id]!];
    if (value === undefined) continue;
    const isList = id === PropertyId.USER_PROPERTY || id === PropertyId.SUBSCRIPTION_IDENTIFIER;
    for (const item of isList ? value as readonly unknown[] : [value]) {
      writer.uint8(id);
      writeValue(writer, PROPERTY_TYPES[id]!, item);
    }
  }
  return writer.toBytes();
}

function writeValue(writer: PacketWriter, type: number, value: unknown): void {
  switch (type) {
    case PropertyType.FLAG:
      return writer.uint8(Number(value));
    case PropertyType.UINT16:
      return writer.uint16(value as number);
    case PropertyType.UINT32:
      return writer.uint32(value as number);
    case PropertyType.VARINT:
      return writer.variableByteInteger(value as number);
    case PropertyType.TEXT:
      return writer.text(value as string);
    case PropertyType.BINARY:
      return writer.binary(value as Uint8Array);
    case PropertyType.PAIR: {
      const [name, text] = value as UserProperty;
      writer.text(name);
      writer.text(text);
    }
  }
}
