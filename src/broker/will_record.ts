/**
 * Will Messages as the store keeps them: bytes as Base64, since changes are JSON in the log.
 */
import type { Will } from "../protocol/packets.ts";
import type { StoredWill } from "../storage/model/stored.ts";

/** Translates a Will Message for the store. */
export function storedWillOf(will: Will): StoredWill {
  const { topic, qos, retain, willDelayInterval, messageExpiryInterval } = will;
  return {
    topic,
    qos,
    retain,
    payload: will.payload.toBase64(),
    properties: will.properties.toBase64(),
    willDelayInterval,
    ...(messageExpiryInterval === undefined ? {} : { messageExpiryInterval }),
  };
}

/** Translates a Will Message from the store. */
export function willOf(stored: StoredWill): Will {
  const { topic, qos, retain, willDelayInterval, messageExpiryInterval } = stored;
  return {
    topic,
    qos,
    retain,
    payload: Uint8Array.fromBase64(stored.payload),
    properties: Uint8Array.fromBase64(stored.properties),
    willDelayInterval,
    messageExpiryInterval,
    // What it says of the payload was checked with the CONNECT; the indicator itself is among the properties.
    isUtf8: false,
  };
}
