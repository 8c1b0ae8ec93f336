/**
 * Where a publication comes from: a client's Session, the broker itself, or a link to another broker.
 *
 * The router asks the source for what the answer and the records need: whom to acknowledge (only clients wait for it),
 * under which number the publication is recorded, and from whom No Local keeps it. It keeps the source until the message
 * is delivered, so that it can still be asked then: what came over a link is for the clients of this broker, because two
 * brokers that pass on what they got from each other do so for ever.
 */
import type { Session } from "../session/session.ts";

/** Kinds of sources that are no clients. */
export type OtherSourceKind =
  /** A Will Message, published for a client that is gone. */
  | "will"
  /** The broker says it by itself. */
  | "broker"
  /** Another broker said it. */
  | "link";

/** A source that is no client: nobody waits for an acknowledgement, and no Session is recorded with the publication. */
export class OtherSource {
  /** Nobody's: a connected client never has an empty one. */
  readonly clientId = "";
  readonly recordNumber = 0;

  constructor(readonly kind: OtherSourceKind) {}
}

/** See the head of this file. */
export type PublishSource = Session | OtherSource;

/** Of Will Messages. [MQTT 5.0, 3.1.2.5] */
export const WILL = new OtherSource("will");
/** Of the broker's own messages, such as `$SYS`. */
export const BROKER = new OtherSource("broker");
