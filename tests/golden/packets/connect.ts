/** Legal CONNECTs of every version: bytes and what the decoder makes of them. */

import { bytesOf, type ClientRow, CONNECT_V4, CONNECT_V5, WILL } from "./row.ts";

/** Rows for `codec_golden_test.ts`. */
export const CONNECT_ROWS: readonly ClientRow[] = [
  {
    title: "CONNECT v5 of nothing but defaults [MQTT-3.1.0-1] [MQTT-2.2.2-1]",
    version: 5,
    bytes: "10 0e 0004 4d515454 05 02 003c 00 0001 63",
    expected: CONNECT_V5,
  },
  {
    title: "CONNECT v5 without Clean Start [MQTT-3.1.2-6]",
    version: 5,
    bytes: "10 0e 0004 4d515454 05 00 003c 00 0001 63",
    expected: { ...CONNECT_V5, cleanStart: false },
  },
  {
    title: "CONNECT v5 with an empty Client Identifier [MQTT-3.1.3-6]",
    version: 5,
    bytes: "10 0d 0004 4d515454 05 02 003c 00 0000",
    expected: { ...CONNECT_V5, clientId: "" },
  },
  {
    title: "CONNECT v5 with every property, User Properties in order and repeated [MQTT-3.1.3-10]",
    version: 5,
    bytes:
      "10 44 0004 4d515454 05 02 003c 36 11 00000e10 21 000a 27 00010000 22 0010 19 01 17 00 26 0001 62 0001 31 26 0001 61 0001 32 26 0001 62 0001 33 15 0005 534352414d 16 0002 00ff 0001 63",
    expected: {
      ...CONNECT_V5,
      sessionExpiryInterval: 3600,
      receiveMaximum: 10,
      maximumPacketSize: 65_536,
      topicAliasMaximum: 16,
      requestResponseInformation: true,
      requestProblemInformation: false,
      userProperties: [["b", "1"], ["a", "2"], ["b", "3"]],
      authenticationMethod: "SCRAM",
      authenticationData: Uint8Array.of(0x00, 0xff),
    },
  },
  {
    title: "CONNECT v5 with the largest values of its properties [MQTT-3.1.2-23]",
    version: 5,
    bytes: "10 1e 0004 4d515454 05 02 003c 10 11 ffffffff 21 ffff 27 ffffffff 22 ffff 0001 63",
    expected: {
      ...CONNECT_V5,
      sessionExpiryInterval: 0xffff_ffff,
      receiveMaximum: 65_535,
      maximumPacketSize: 0xffff_ffff,
      topicAliasMaximum: 65_535,
    },
  },
  {
    title: "CONNECT v5 with User Name and Password [MQTT-3.1.2-17] [MQTT-3.1.2-19] [MQTT-3.1.3-12]",
    version: 5,
    bytes: "10 19 0004 4d515454 05 c2 003c 00 0001 63 0004 75736572 0003 0001ff",
    expected: { ...CONNECT_V5, username: "user", password: Uint8Array.of(0, 1, 255) },
  },
  {
    title: "CONNECT v5 with a Password alone [MQTT-3.1.2-16] [MQTT-3.1.2-19]",
    version: 5,
    bytes: "10 12 0004 4d515454 05 42 003c 00 0001 63 0002 7077",
    expected: { ...CONNECT_V5, password: Uint8Array.of(0x70, 0x77) },
  },
  {
    title: "CONNECT v5 with a User Name alone [MQTT-3.1.2-17] [MQTT-3.1.2-18]",
    version: 5,
    bytes: "10 14 0004 4d515454 05 82 003c 00 0001 63 0004 75736572",
    expected: { ...CONNECT_V5, username: "user" },
  },
  {
    title: "CONNECT v5 with all parts of the payload in their order [MQTT-3.1.3-1] [MQTT-3.1.2-9]",
    version: 5,
    bytes: "10 20 0004 4d515454 05 f6 003c 00 0001 63 00 0001 77 0002 6869 0004 75736572 0002 7077",
    expected: {
      ...CONNECT_V5,
      will: { ...WILL, qos: 2, retain: true },
      username: "user",
      password: Uint8Array.of(0x70, 0x77),
    },
  },
  {
    title: "CONNECT v5 with a Will and all of its properties [MQTT-3.1.2-9] [MQTT-3.1.3-10]",
    version: 5,
    bytes:
      "10 47 0004 4d515454 05 0e 003c 00 0001 63 31 18 0000001e 01 01 02 00000078 26 0001 6b 0001 32 03 000a 746578742f706c61696e 08 0003 722f74 09 0001 09 26 0001 6b 0001 31 0001 77 0002 6869",
    expected: {
      ...CONNECT_V5,
      will: {
        ...WILL,
        qos: 1,
        willDelayInterval: 30,
        messageExpiryInterval: 120,
        properties: bytesOf(
          "01 01 26 0001 6b 0001 32 03 000a 746578742f706c61696e 08 0003 722f74 09 0001 09 26 0001 6b 0001 31",
        ),
        isUtf8: true,
      },
    },
  },
  {
    title: "CONNECT v5 with an empty Will Payload",
    version: 5,
    bytes: "10 14 0004 4d515454 05 26 003c 00 0001 63 00 0001 77 0000",
    expected: { ...CONNECT_V5, will: { ...WILL, payload: new Uint8Array(0), retain: true } },
  },
  {
    title: "CONNECT v5 keeps U+FEFF in a Client Identifier [MQTT-1.5.4-3]",
    version: 5,
    bytes: "10 11 0004 4d515454 05 02 003c 00 0004 efbbbf63",
    expected: { ...CONNECT_V5, clientId: "\ufeffc" },
  },
  {
    title: "CONNECT v5 with text of two, three and four bytes per character [MQTT-3.1.3-4]",
    version: 5,
    bytes: "10 16 0004 4d515454 05 02 003c 00 0009 c3a4e282acf09f9880",
    expected: { ...CONNECT_V5, clientId: "ä€😀" },
  },
  {
    title: "CONNECT v4 of nothing but defaults [MQTT-3.1.0-1]",
    version: 4,
    bytes: "10 0d 0004 4d515454 04 02 003c 0001 63",
    expected: CONNECT_V4,
  },
  {
    title: "CONNECT v4 without Clean Session keeps its Session",
    version: 4,
    bytes: "10 0d 0004 4d515454 04 00 003c 0001 63",
    expected: { ...CONNECT_V4, cleanStart: false, sessionExpiryInterval: 0xffff_ffff },
  },
  {
    title: "CONNECT v4 with all parts of the payload in their order [MQTT-3.1.3-1]",
    version: 4,
    bytes: "10 1e 0004 4d515454 04 ee 003c 0001 63 0001 77 0002 6869 0004 75736572 0002 7077",
    expected: {
      ...CONNECT_V4,
      will: { ...WILL, qos: 1, retain: true },
      username: "user",
      password: Uint8Array.of(0x70, 0x77),
    },
  },
  {
    title: "CONNECT v3 of nothing but defaults",
    version: 3,
    bytes: "10 0f 0006 4d5149736470 03 02 003c 0001 63",
    expected: { ...CONNECT_V4, version: 3 },
  },
  {
    title: "CONNECT v3 with a Will, User Name and Password",
    version: 3,
    bytes: "10 20 0006 4d5149736470 03 d6 003c 0001 63 0001 77 0002 6869 0004 75736572 0002 7077",
    expected: {
      ...CONNECT_V4,
      version: 3,
      will: { ...WILL, qos: 2 },
      username: "user",
      password: Uint8Array.of(0x70, 0x77),
    },
    legalBodySizes: [22, 28],
  },
  {
    title: "CONNECT v3 that sets the User Name and Password flags and leaves both fields out",
    version: 3,
    bytes: "10 0f 0006 4d5149736470 03 c2 003c 0001 63",
    expected: { ...CONNECT_V4, version: 3 },
  },
  {
    title: "CONNECT v3 with the bit set that MQTT 3.1 leaves open",
    version: 3,
    bytes: "10 0f 0006 4d5149736470 03 03 003c 0001 63",
    expected: { ...CONNECT_V4, version: 3 },
  },
];
