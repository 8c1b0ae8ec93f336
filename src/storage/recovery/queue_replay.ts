/**
 * Replays the records of the log on top of what the database holds: who is owed what when the log ends.
 *
 * This is the meaning of the records. It knows no files: blocks come in the order of their LSNs, damaged ones are simply
 * not there. What depends on a lost record is left out and counted: a message whose route is lost is owed to nobody, a
 * Session whose opening is lost is not there. Nothing is ever owed or retained that is not stored.
 *
 * Records below the applied LSN are in the database already and are passed over, but for routes, which later messages
 * may name. The database may be ahead of its applied LSN in what it says of the messages it holds; every record may
 * therefore find its work done.
 *
 * A replay makes an object per message owed and receiver, and nothing else per record.
 */
import type { PacketId } from "../../protocol/distinct_number.ts";
import type { LoadedCheckpoint } from "../checkpoint/checkpoint_rows.ts";
import type { LogBuffer } from "../log/log_buffer.ts";
import {
  messageSize,
  type ProgressKind,
  PUBLISH_HEADER_BYTES,
  readRelease,
  readText,
  recordBytes,
  RecordType,
  recordType,
  validateRecord,
} from "../log/record.ts";
import { type Block, BLOCK_HEADER_BYTES } from "../log/segment.ts";
import { decodeChange, decodeRoute } from "../log/text_records.ts";
import {
  applyChange,
  type DurableState,
  type OwedMessage,
  type RecoveredState,
  sessionOf,
} from "../model/durable_state.ts";
import {
  type GroupOrdinal,
  MESSAGE_FLAGS_UNKNOWN,
  type Position,
  type Route,
  type SessionChange,
  type SessionNumber,
} from "../model/stored.ts";
import { collectOwed, type Shortfall } from "./replay_result.ts";
import { ReplayedGroups, type SharedGrant } from "./replayed_groups.ts";
import { ReplayedEntry, ReplayedQueue, SIZE_UNKNOWN } from "./replayed_queue.ts";
import { ReplayedRoute } from "./replayed_route.ts";
import type { ReplayedSession } from "./replayed_session.ts";
import { StoredSizes } from "./stored_sizes.ts";

/** A record that could not be used. */
export interface UnusableRecord {
  readonly lsn: number;
  /** LSN behind what cannot be used for it. */
  readonly endLsn: number;
  readonly reason: string;
}

/** Messages whose route was lost. */
export interface Unrouted {
  /** Position of the route. */
  readonly route: Position;
  /** Positions of the first and the last message that named it. */
  readonly first: Position;
  last: Position;
  messages: number;
}

/** What a replay ends with. */
export interface ReplayResult {
  readonly state: RecoveredState;
  /** Above every session number that was seen. */
  readonly nextSession: number;
  readonly shortfall: Shortfall;
}

/** See the head of this file. */
export class QueueReplay {
  /** PUBLISH records replayed. */
  messages = 0;
  /** Routes that messages named and that are not there. */
  readonly unrouted = new Map<Position, Unrouted>();
  readonly #state: DurableState;
  readonly #appliedLsn: number;
  readonly #sizes: StoredSizes;
  readonly #sessions = new Map<number, ReplayedSession>();
  readonly #groups: ReplayedGroups;
  readonly #routes = new Map<Position, Route>();
  readonly #inUse = new Map<Position, ReplayedRoute>();
  #lastRoute: ReplayedRoute | undefined = undefined;
  #lastRoutePosition = 0;
  #sessionMax: number;
  #sequence = 0;

  /** @param loaded Becomes part of the result: it must not be used by anybody else. */
  constructor(loaded: LoadedCheckpoint) {
    this.#state = loaded.state;
    this.#appliedLsn = loaded.appliedLsn;
    this.#sessionMax = loaded.nextSession - 1;
    this.#sizes = new StoredSizes(loaded.messages, loaded.appliedLsn);
    this.#groups = new ReplayedGroups((session, filter) => this.#grantOf(session, filter));
    for (const [number, state] of loaded.state.sessions) {
      this.#session(number);
      for (const filter of state.subscriptions.keys()) this.#groups.join(number, filter);
    }
    for (const [number, owed] of loaded.owed) for (const message of owed) this.#load(number, message);
    for (const { position, group } of loaded.groupBacklog) {
      if (position >= this.#appliedLsn) continue;
      const flags = this.#archivedFlagsOf(position);
      const entry = new ReplayedEntry(position, this.#sizes.of(position), flags, NO_IDENTIFIERS, this.#sequence++);
      entry.group = group;
      this.#groups.restore(entry, 0, flags);
    }
    for (const unclaimed of loaded.unclaimed) {
      const { position } = unclaimed;
      if (position >= this.#appliedLsn) continue;
      this.#groups.restoreUnclaimed(unclaimed, this.#sizes.of(position), this.#archivedFlagsOf(position));
    }
  }

  /**
   * Replays one block, which must not be below the ones before.
   *
   * @param from Holds the block; may be used for something else afterwards.
   * @returns What of it could not be used.
   */
  replay(from: LogBuffer, block: Block): readonly UnusableRecord[] {
    const lsnOfStart = block.lsn - block.start;
    let unusable = NOTHING;
    for (let at = block.start + BLOCK_HEADER_BYTES; at < block.end;) {
      const lsn = lsnOfStart + at;
      const problem = validateRecord(from, at, block.end);
      if (problem !== undefined) return [...unusable, { lsn, endLsn: lsnOfStart + block.end, reason: problem }];
      const size = recordBytes(from, at);
      if (!this.#replayRecord(from, at, lsn)) {
        const reason = "the text of a ROUTE or CHANGE record describes no route and no change";
        unusable = [...unusable, { lsn, endLsn: lsn + size, reason }];
      }
      at += size;
    }
    return unusable;
  }

  /** Puts together what the replay ends with; the replay is over then. */
  finish(): ReplayResult {
    const { sessions, retained } = this.#state;
    const shortfall: Shortfall = { sessions: 0, owed: 0, retained: 0 };
    const clients = new Map<string, number>();
    for (const [number, { opened, isEnded }] of [...sessions]) {
      if (isEnded) continue;
      if (opened === undefined) {
        this.#drop(number, shortfall);
        continue;
      }
      // A client has one Session: the end of the older one is lost.
      const other = clients.get(opened.clientId);
      if (other !== undefined) this.#drop(Math.min(other, number), shortfall);
      clients.set(opened.clientId, Math.max(other ?? 0, number));
    }
    for (const [number, session] of sessions) if (session.isEnded) sessions.delete(number);
    for (const [topic, position] of retained) {
      if (position !== null && this.#sizes.of(position) !== SIZE_UNKNOWN) continue;
      retained.delete(topic);
      if (position !== null) shortfall.retained++;
    }
    const owed = collectOwed(this.#sessions.values(), this.#groups, shortfall);
    const groupBacklog = [];
    for (const { position, size, group } of this.#groups.backlog()) {
      if (size === SIZE_UNKNOWN) shortfall.owed++;
      else groupBacklog.push({ position, group: group! });
    }
    return { state: { ...this.#state, owed, groupBacklog }, nextSession: this.#sessionMax + 1, shortfall };
  }

  #drop(number: number, shortfall: Shortfall): void {
    shortfall.sessions++;
    this.#end(number);
    applyChange(this.#state, { kind: "end", session: number });
  }

  #session(number: number): ReplayedSession {
    let session = this.#sessions.get(number);
    if (session === undefined) {
      session = { number, state: sessionOf(this.#state, number), queue: new ReplayedQueue() };
      this.#sessions.set(number, session);
      this.#saw(number);
    }
    return session;
  }

  #saw(session: SessionNumber): void {
    if (session > this.#sessionMax) this.#sessionMax = session;
  }

  /** Takes an owed message from the database. */
  #load(number: number, owed: OwedMessage): void {
    const { position, flags, identifiers, group } = owed;
    // At and above the applied LSN are leftovers of a move that was not completed: the log has them.
    if (position >= this.#appliedLsn) return;
    const entry = new ReplayedEntry(position, this.#sizes.of(position), flags, identifiers, this.#sequence++);
    entry.packetId = owed.packetId;
    entry.isReceived = owed.isReceived;
    entry.group = group;
    entry.isArchived = true;
    const session = this.#session(number);
    if (group === undefined) session.queue.add(entry);
    else this.#groups.restore(entry, number, this.#archivedFlagsOf(position));
  }

  /** What a member of a group may get of an archived message at most. */
  #archivedFlagsOf(position: Position): number {
    return this.#sizes.flagsOf(position) ?? MESSAGE_FLAGS_UNKNOWN;
  }

  /** False for a text that cannot be read. */
  #replayRecord(from: LogBuffer, at: number, lsn: number): boolean {
    const type = recordType(from, at);
    if (type === RecordType.ROUTE) {
      const route = decodeRoute(readText(from, at));
      if (route === undefined) return false;
      this.#routes.set(lsn, route);
      return true;
    }
    if (lsn < this.#appliedLsn) return true;
    switch (type) {
      case RecordType.PUBLISH:
        this.#publish(from, at, lsn);
        return true;
      case RecordType.PROGRESS:
        this.#progress(from, at);
        return true;
      case RecordType.RELEASE: {
        const { session, packetId } = readRelease(from, at);
        this.#saw(session);
        this.#sessions.get(session)?.state.inboundPacketIds.delete(packetId);
        return true;
      }
      default: {
        const change = decodeChange(readText(from, at));
        if (change !== undefined) this.#change(change);
        return change !== undefined;
      }
    }
  }

  #publish(from: LogBuffer, at: number, position: Position): void {
    this.messages++;
    const { words } = from;
    const head = words[(at >> 2) + 1]!;
    const publisher: SessionNumber = words[(at >> 2) + 2]!;
    const route: Position = from.doubles[(at >> 3) + 3]!;
    const packetId: PacketId = head >>> 16;
    if (publisher !== 0) {
      this.#saw(publisher);
      if (packetId !== 0) {
        const state = this.#sessions.get(publisher)?.state;
        if (state !== undefined && !state.isEnded) state.inboundPacketIds.set(packetId, true);
      }
    }
    if ((head & RETAIN) !== 0) this.#retain(from, at, position);
    if (route === 0) return;
    const routed = route === this.#lastRoutePosition ? this.#lastRoute : this.#route(route);
    if (routed === undefined) this.#noteUnrouted(route, position);
    else this.#owe(routed, position, messageSize(from, at), (head >> 8) & 7, publisher);
  }

  #owe(route: ReplayedRoute, position: Position, size: number, messageFlags: number, publisher: SessionNumber): void {
    const qos = messageFlags & 3;
    const { receivers, groups } = route;
    // A copy of a Retained Message, which an `owe` is to follow.
    if (receivers.length + groups.length === 0) this.#sizes.add(position, size);
    if (qos === 0) return;
    for (let i = 0; i < receivers.length; i++) {
      const receiver = receivers[i]!;
      const { session } = receiver;
      const grant = publisher === session.number && receiver.local !== undefined ? receiver.local : receiver;
      if (grant === null || grant.qos === 0 || session.state.isEnded) continue;
      const flags = (qos < grant.qos ? qos : grant.qos) | (grant.retainAsPublished ? messageFlags & 4 : 0);
      session.queue.add(new ReplayedEntry(position, size, flags, grant.identifiers, this.#sequence++));
    }
    for (let i = 0; i < groups.length; i++) {
      this.#groups.owe(groups[i]!, position, size, messageFlags);
    }
  }

  #retain(from: LogBuffer, at: number, position: Position): void {
    const word = at >> 2;
    const topicStart = at + PUBLISH_HEADER_BYTES;
    const topicEnd = topicStart + from.words[word + 3]!;
    const topic = DECODER.decode(from.bytes.subarray(topicStart + TOPIC_PREFIX_BYTES, topicEnd));
    if (from.words[word + 9] === 0) {
      this.#state.retained.delete(topic);
      return;
    }
    this.#state.retained.set(topic, position);
    this.#sizes.add(position, messageSize(from, at));
  }

  #progress(from: LogBuffer, at: number): void {
    const word = at >> 2;
    const head = from.words[word + 1]!;
    const number: SessionNumber = from.words[word + 2]!;
    const group: GroupOrdinal = from.words[word + 3]!;
    const position: Position = from.doubles[(at >> 3) + 2]!;
    const packetId: PacketId = head >>> 16;
    const kind = (head >>> 8 & 0xff) as ProgressKind;
    const session = this.#sessions.get(number);
    if (session === undefined) this.#saw(number);
    if (group === 0) session?.queue.progress(kind, position, packetId, this.#sequence++);
    else if (session === undefined || !session.state.isEnded) {
      this.#groups.progress(kind, number, position, packetId, group, this.#sequence++);
    }
  }

  #change(change: SessionChange): void {
    if ("session" in change) {
      const session = this.#session(change.session);
      if (session.state.isEnded) return;
    }
    switch (change.kind) {
      case "subscribe":
        this.#groups.join(change.session, change.subscription.filter);
        break;
      case "unsubscribe":
        this.#groups.leave(change.session, change.filter);
        break;
      case "end":
        this.#end(change.session);
        break;
      case "owe":
        this.#oweRetained(change.session, change.position, change.flags, change.identifiers);
        break;
    }
    applyChange(this.#state, change);
    // The state is a whole one: what was removed leaves no mark.
    if (change.kind === "unsubscribe") this.#session(change.session).state.subscriptions.delete(change.filter);
    else if (change.kind === "will-over") this.#state.wills.delete(change.clientId);
  }

  #end(number: number): void {
    const { state, queue } = this.#session(number);
    queue.clear();
    for (const filter of state.subscriptions.keys()) this.#groups.leave(number, filter);
    this.#groups.end(number);
  }

  #oweRetained(number: number, position: Position, flags: number, identifiers: readonly number[]): void {
    const { queue } = this.#session(number);
    const archived = queue.archivedEntry(position);
    if (archived !== undefined) {
      // The message was moved while it was owed, with this very debt.
      archived.isArchived = false;
      return;
    }
    queue.add(new ReplayedEntry(position, this.#sizes.of(position), flags, identifiers, this.#sequence++));
  }

  /** The route at a position, made ready at its first use. */
  #route(position: Position): ReplayedRoute | undefined {
    let route = this.#inUse.get(position);
    if (route === undefined) {
      const read = this.#routes.get(position);
      if (read === undefined) return undefined;
      route = new ReplayedRoute(read, (number) => this.#session(number), this.#groups);
      this.#inUse.set(position, route);
    }
    this.#lastRoute = route;
    this.#lastRoutePosition = position;
    return route;
  }

  #noteUnrouted(route: Position, position: Position): void {
    const known = this.unrouted.get(route);
    if (known === undefined) this.unrouted.set(route, { route, first: position, last: position, messages: 1 });
    else {
      known.last = position;
      known.messages++;
    }
  }

  #grantOf(number: number, sharedFilter: string): SharedGrant | undefined {
    const subscription = this.#session(number).state.subscriptions.get(sharedFilter);
    if (subscription === undefined || subscription === null) return undefined;
    const { qos, retainAsPublished, subscriptionIdentifier } = subscription;
    const identifiers = subscriptionIdentifier === 0 ? NO_IDENTIFIERS : [subscriptionIdentifier];
    return { qos, retainAsPublished, identifiers };
  }
}

const DECODER = new TextDecoder();
const NOTHING: readonly UnusableRecord[] = [];
const NO_IDENTIFIERS: readonly number[] = [];
const TOPIC_PREFIX_BYTES = 2;
/** RETAIN in the second word of a PUBLISH record. */
const RETAIN = 0x400;
