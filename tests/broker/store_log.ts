/**
 * What a `SlowStore` was told, entry by entry, as data for the replay and as lines for the eye:
 *
 *     route r:1,2 g:group/t          publish t by c #7            publish t
 *     sent c @12 #3                  received c @12 #3            done - @12 g1
 *     release c 7                    open c 60                    offline c
 *     subscribe c a/#                unsubscribe c a/#            end c
 *     will c                         will-delayed c               will-over c            owe c @12
 */
import { Message } from "../../src/protocol/message.ts";
import { ProgressKind } from "../../src/storage/log/record.ts";
import type { Position, Route, SessionChange } from "../../src/storage/model/stored.ts";

/** A message that was appended, with its own copy of all bytes. */
export class Stored {
  readonly bytes: Uint8Array;
  readonly topicSize: number;
  readonly propertiesSize: number;
  readonly payloadSize: number;
  readonly qos: Message["qos"];
  readonly retain: boolean;
  readonly expiresAtMs: number;

  constructor(message: Message) {
    const topic = message.topicBytes.subarray(message.topicStart, message.topicEnd);
    const properties = message.propertiesBytes.subarray(message.propertiesStart, message.propertiesEnd);
    const payload = message.payloadBytes.subarray(message.payloadStart, message.payloadEnd);
    this.bytes = Uint8Array.from([...topic, ...properties, ...payload]);
    this.topicSize = topic.length;
    this.propertiesSize = properties.length;
    this.payloadSize = payload.length;
    this.qos = message.qos;
    this.retain = message.retain;
    this.expiresAtMs = message.expiresAtMs;
  }

  get topicName(): string {
    return new TextDecoder().decode(this.bytes.subarray(2, this.topicSize));
  }
}

/** One append. */
export type LogEntry =
  | { readonly kind: "publish"; readonly position: Position } & PublishEntry
  | { readonly kind: "progress"; readonly position: Position } & ProgressEntry
  | { readonly kind: "release"; readonly position: Position; readonly session: number; readonly packetId: number }
  | { readonly kind: "route"; readonly position: Position; readonly route: Route }
  | { readonly kind: "change"; readonly position: Position; readonly change: SessionChange };

/** A message with what was said of it. */
export interface PublishEntry {
  readonly stored: Stored;
  readonly publisher: number;
  readonly packetId: number;
  readonly route: Position;
}

/** How far a delivery is. */
export interface ProgressEntry {
  readonly progress: number;
  readonly session: number;
  readonly of: Position;
  readonly packetId: number;
  readonly group: number;
}

/** Names Sessions by their Client Identifiers, as the `open` entries say. */
export function clientIdsOf(entries: readonly LogEntry[]): ReadonlyMap<number, string> {
  const clientIds = new Map<number, string>();
  for (const entry of entries) {
    if (entry.kind !== "change" || entry.change.kind !== "open") continue;
    clientIds.set(entry.change.session, entry.change.clientId);
  }
  return clientIds;
}

/** One entry as a line of text. */
export function lineOf(entry: LogEntry, clientIds: ReadonlyMap<number, string>): string {
  const nameOf = (session: number) => clientIds.get(session) ?? "-";
  switch (entry.kind) {
    case "publish": {
      const packetId = entry.packetId === 0 ? "" : ` #${entry.packetId}`;
      const publisher = entry.publisher === 0 ? "" : ` by ${nameOf(entry.publisher)}${packetId}`;
      return `publish ${entry.stored.topicName}${publisher}`;
    }
    case "progress": {
      const kind = PROGRESS_NAMES[entry.progress];
      const packetId = entry.packetId === 0 ? "" : ` #${entry.packetId}`;
      return `${kind} ${nameOf(entry.session)} @${entry.of}${packetId}${entry.group === 0 ? "" : ` g${entry.group}`}`;
    }
    case "release":
      return `release ${nameOf(entry.session)} ${entry.packetId}`;
    case "route": {
      const receivers = entry.route.receivers.map(({ session }) => nameOf(session)).join();
      return `route r:${receivers} g:${entry.route.groups.map(({ name, filter }) => `${name}/${filter}`).join()}`;
    }
    case "change":
      return `${entry.change.kind} ${restOf(entry.change, nameOf)}`;
  }
}

function restOf(change: SessionChange, nameOf: (session: number) => string): string {
  switch (change.kind) {
    case "open":
      return `${change.clientId} ${change.sessionExpiryInterval}`;
    case "subscribe":
      return `${nameOf(change.session)} ${change.subscription.filter}`;
    case "unsubscribe":
      return `${nameOf(change.session)} ${change.filter}`;
    case "owe":
      return `${nameOf(change.session)} @${change.position}`;
    case "offline":
    case "end":
      return nameOf(change.session);
    case "will":
    case "will-delayed":
    case "will-over":
      return change.clientId;
  }
}

const PROGRESS_NAMES: Readonly<Record<number, string>> = {
  [ProgressKind.SENT]: "sent",
  [ProgressKind.RECEIVED]: "received",
  [ProgressKind.DONE]: "done",
};
