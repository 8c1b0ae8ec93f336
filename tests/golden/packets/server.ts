/** The packets a server sends: what is encoded, and the bytes it becomes. */

import {
  encodeAuth,
  encodeConnack,
  encodeDisconnect,
  encodePingresp,
  encodeSuback,
  encodeUnsuback,
} from "../../../src/protocol/codec_encode.ts";
import type { ServerRow } from "./row.ts";

/** Rows for `codec_encode_test.ts`. */
export const SERVER_ROWS: readonly ServerRow[] = [
  {
    title: "encodeConnack accepts in v5 [MQTT-3.1.4-5]",
    encode: () => encodeConnack(5, false, 0, {}),
    bytes: "20 03 00 00 00",
  },
  {
    title: "encodeConnack accepts in v5 with Session Present [MQTT-3.2.2-3]",
    encode: () => encodeConnack(5, true, 0, {}),
    bytes: "20 03 01 00 00",
  },
  {
    title: "encodeConnack refuses in v5 without Session Present [MQTT-3.2.2-6]",
    encode: () => encodeConnack(5, true, 0x87, {}),
    bytes: "20 03 00 87 00",
  },
  {
    title: "encodeConnack writes every property, User Properties in order [MQTT-3.2.2-16] [MQTT-3.2.2-21]",
    encode: () =>
      encodeConnack(5, false, 0, {
        sessionExpiryInterval: 3600,
        receiveMaximum: 10,
        maximumQoS: 1,
        retainAvailable: false,
        maximumPacketSize: 65_536,
        assignedClientIdentifier: "id",
        topicAliasMaximum: 16,
        reasonString: "ok",
        userProperties: [["b", "1"], ["a", "2"], ["b", "3"]],
        wildcardSubscriptionAvailable: false,
        subscriptionIdentifiersAvailable: true,
        sharedSubscriptionAvailable: false,
        serverKeepAlive: 30,
        responseInformation: "ri",
        serverReference: "sr",
        authenticationMethod: "m",
        authenticationData: Uint8Array.of(1, 0),
      }),
    bytes:
      "20 52 00 00 4f 11 00000e10 12 0002 6964 13 001e 15 0001 6d 16 0002 0100 1a 0002 7269 1c 0002 7372 1f 0002 6f6b 21 000a 22 0010 24 01 25 00 26 0001 62 0001 31 26 0001 61 0001 32 26 0001 62 0001 33 27 00010000 28 00 29 01 2a 00",
  },
  {
    title: "encodeConnack accepts in v4 with Session Present",
    encode: () => encodeConnack(4, true, 0, { receiveMaximum: 10 }),
    bytes: "20 02 01 00",
  },
  {
    title: "encodeConnack refuses in v4 with return code 1 for Unsupported Protocol Version",
    encode: () => encodeConnack(4, true, 0x84, {}),
    bytes: "20 02 00 01",
  },
  {
    title: "encodeConnack refuses in v4 with return code 2 for Client Identifier not valid",
    encode: () => encodeConnack(4, true, 0x85, {}),
    bytes: "20 02 00 02",
  },
  {
    title: "encodeConnack refuses in v4 with return code 3 for Server unavailable",
    encode: () => encodeConnack(4, true, 0x88, {}),
    bytes: "20 02 00 03",
  },
  {
    title: "encodeConnack refuses in v4 with return code 4 for Bad User Name or Password",
    encode: () => encodeConnack(4, true, 0x86, {}),
    bytes: "20 02 00 04",
  },
  {
    title: "encodeConnack refuses in v4 with return code 5 for Not authorized",
    encode: () => encodeConnack(4, true, 0x87, {}),
    bytes: "20 02 00 05",
  },
  {
    title: "encodeConnack refuses in v4 with return code 3 for Quota exceeded",
    encode: () => encodeConnack(4, true, 0x97, {}),
    bytes: "20 02 00 03",
  },
  {
    title: "encodeConnack accepts in v3 without Session Present, which MQTT 3.1 does not have",
    encode: () => encodeConnack(3, true, 0, {}),
    bytes: "20 02 00 00",
  },
  {
    title: "encodeSuback writes one code per filter in v5 [MQTT-2.2.1-6] [MQTT-3.9.3-1]",
    encode: () => encodeSuback(5, 0x1234, [0, 1, 2, 0x87, 0x9e]),
    bytes: "90 08 1234 00 00 01 02 87 9e",
  },
  {
    title: "encodeSuback writes a Reason String and User Properties in v5",
    encode: () => encodeSuback(5, 10, [0x8f], { reasonString: "no", userProperties: [["a", "b"]] }),
    bytes: "90 10 000a 0c 1f 0002 6e6f 26 0001 61 0001 62 8f",
  },
  {
    title: "encodeSuback knows one failure in v4 [MQTT-3.9.3-2]",
    encode: () => encodeSuback(4, 10, [2, 0x87, 0x9e, 0], { reasonString: "no" }),
    bytes: "90 06 000a 02 80 80 00",
  },
  {
    title: "encodeUnsuback writes one code per filter in v5 [MQTT-2.2.1-6] [MQTT-3.11.3-1]",
    encode: () => encodeUnsuback(5, 10, [0, 0x11]),
    bytes: "b0 05 000a 00 00 11",
  },
  {
    title: "encodeUnsuback writes no codes in v4",
    encode: () => encodeUnsuback(4, 10, [0, 0x11], { reasonString: "no" }),
    bytes: "b0 02 000a",
  },
  {
    title: "encodePingresp writes two bytes [MQTT-3.12.4-1]",
    encode: () => encodePingresp(),
    bytes: "d0 00",
  },
  {
    title: "encodeDisconnect leaves out Success",
    encode: () => encodeDisconnect(0),
    bytes: "e0 00",
  },
  {
    title: "encodeDisconnect writes a Reason Code alone [MQTT-3.14.2-1]",
    encode: () => encodeDisconnect(0x8e, { userProperties: [] }),
    bytes: "e0 01 8e",
  },
  {
    title: "encodeDisconnect writes Reason String and Server Reference",
    encode: () => encodeDisconnect(0x9c, { reasonString: "go", serverReference: "b:1" }),
    bytes: "e0 0d 9c 0b 1c 0003 623a31 1f 0002 676f",
  },
  {
    title: "encodeAuth continues [MQTT-3.15.2-1]",
    encode: () => encodeAuth(0x18, { authenticationMethod: "m", authenticationData: Uint8Array.of(7) }),
    bytes: "f0 0a 18 08 15 0001 6d 16 0001 07",
  },
];
