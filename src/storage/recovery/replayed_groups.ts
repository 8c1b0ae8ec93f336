/**
 * The messages of Shared Subscriptions while the log is replayed.
 *
 * A message belongs to its group until a member was sent it; while nobody was, it is in the group's backlog. What a
 * member holds moves on when another member is sent it. A group is owed messages only while a recorded Session
 * subscribes to it: when the last one goes, the backlog goes too. What comes while none does is kept aside, for one that
 * subscribes later may be sent it (`unclaimed_messages.ts`). A Session that ends leaves to the group what it was
 * never sent and what it did not acknowledge at QoS 1. [MQTT-4.8.2-5]
 */
import type { PacketId } from "../../protocol/distinct_number.ts";
import { ProgressKind } from "../log/record.ts";
import type { GroupBacklogEntry } from "../model/durable_state.ts";
import type { GroupOrdinal, Position, SessionNumber } from "../model/stored.ts";
import type { ReplayedGroup, RoutedGroup } from "./replayed_group.ts";
import { ReplayedEntry } from "./replayed_queue.ts";
import { UnclaimedMessages } from "./unclaimed_messages.ts";

/** What a member's subscription grants. */
export interface SharedGrant {
  readonly qos: number;
  readonly retainAsPublished: boolean;
  readonly identifiers: readonly number[];
}

/** A message of a group, with its holder. */
interface SharedMessage {
  readonly entry: ReplayedEntry;
  readonly group: ReplayedGroup;
  /** QoS (bits 0 and 1) and RETAIN (bit 2) of the message, as far as they are known. */
  readonly messageFlags: number;
  /** Session number, 0 = in the backlog. */
  holder: SessionNumber;
  era: number;
}

/** See the head of this file. */
export class ReplayedGroups {
  readonly #groups = new Map<string, ReplayedGroup>();
  readonly #messages = new Map<Position, SharedMessage[]>();
  readonly #unclaimed = new UnclaimedMessages();
  readonly #held = new Map<number, Set<SharedMessage>>();
  readonly #grantOf: (session: SessionNumber, sharedFilter: string) => SharedGrant | undefined;

  /** @param grantOf What a recorded Session is granted by a Topic Filter of a Shared Subscription. */
  constructor(grantOf: (session: SessionNumber, sharedFilter: string) => SharedGrant | undefined) {
    this.#grantOf = grantOf;
  }

  /** The group with a ShareName and a Topic Filter. */
  group(name: string, filter: string): ReplayedGroup {
    const sharedFilter = sharedFilterOf(name, filter);
    let group = this.#groups.get(sharedFilter);
    if (group === undefined) {
      group = { name, filter, members: new Set(), era: 0 };
      this.#groups.set(sharedFilter, group);
    }
    return group;
  }

  /** A recorded Session subscribes. Other Topic Filters than shared ones are passed over. */
  join(session: SessionNumber, sharedFilter: string): void {
    const parts = partsOf(sharedFilter);
    if (parts !== undefined) this.group(parts.name, parts.filter).members.add(session);
  }

  /** A recorded Session unsubscribes. */
  leave(session: SessionNumber, sharedFilter: string): void {
    const group = this.#groups.get(sharedFilter);
    if (group === undefined || !group.members.delete(session)) return;
    if (group.members.size === 0) group.era++;
  }

  /** A Session ends that has left its groups. */
  end(session: SessionNumber): void {
    for (const shared of this.#held.get(session) ?? []) {
      const { entry } = shared;
      const isLeft = !entry.isReceived && (entry.packetId === 0 || (entry.flags & 3) !== 2);
      if (isLeft && shared.group.members.size > 0) this.#toBacklog(shared);
      else this.#remove(shared);
    }
    this.#held.delete(session);
  }

  /** Owes a message to a group, or keeps it aside while nobody recorded is in it. */
  owe(routed: RoutedGroup, position: Position, size: number, messageFlags: number): void {
    if (routed.group.members.size === 0) this.#unclaimed.add(routed, position, size, messageFlags);
    else this.#owe(routed, position, size, messageFlags);
  }

  /** Puts back from the database what is kept aside, in the order of positions and before `owe`. */
  restoreUnclaimed({ position, group: owed }: GroupBacklogEntry, size: number, messageFlags: number): void {
    this.#unclaimed.add({ group: this.group(owed.name, owed.filter), owed }, position, size, messageFlags);
  }

  /**
   * Puts back a message from the database.
   *
   * @param holder Session number, 0 = the backlog.
   * @param messageFlags QoS and RETAIN of the message, as far as they are known.
   */
  restore(entry: ReplayedEntry, holder: SessionNumber, messageFlags: number): void {
    const group = this.group(entry.group!.name, entry.group!.filter);
    const shared: SharedMessage = { entry, group, messageFlags, holder: 0, era: group.era };
    this.#put(shared);
    if (holder !== 0) this.#hold(shared, holder);
  }

  /** Applies one PROGRESS record of a message of a group; nothing happens when it is owed to nobody. */
  progress(
    kind: ProgressKind,
    session: SessionNumber,
    position: Position,
    packetId: PacketId,
    ordinal: GroupOrdinal,
    sequence: number,
  ): void {
    const shared = this.#messages.get(position)?.find((message) => message.entry.group!.ordinal === ordinal) ??
      (kind === ProgressKind.SENT ? this.#claim(session, position, ordinal) : undefined);
    if (shared === undefined) return;
    const { entry } = shared;
    if (kind === ProgressKind.DONE) this.#remove(shared);
    else if (kind === ProgressKind.RECEIVED) {
      // What a Session that is not recorded received is nobody's to get, and nobody's to go on with.
      if (session === 0) this.#toBacklog(shared);
      entry.isReceived = true;
    } else if (session === 0) this.#toBacklog(shared);
    else {
      if (shared.holder !== session) this.#grant(shared, session);
      this.#hold(shared, session);
      entry.packetId = packetId;
      entry.sequence = sequence;
    }
  }

  /** What a Session holds, in no order. */
  heldBy(session: SessionNumber): ReplayedEntry[] {
    return Array.from(this.#held.get(session) ?? [], (shared) => shared.entry);
  }

  /** Gives a message that a Session holds back to its group. */
  giveBack(session: SessionNumber, entry: ReplayedEntry): void {
    for (const shared of this.#held.get(session) ?? []) if (shared.entry === entry) return this.#toBacklog(shared);
  }

  /** The backlogs of all groups that still have a recorded member, by position. */
  backlog(): ReplayedEntry[] {
    const waiting: ReplayedEntry[] = [];
    for (const messages of this.#messages.values()) {
      for (const { holder, group, era, entry } of messages) {
        // What a Session that is not recorded has received is nobody's any more.
        if (holder === 0 && group.members.size > 0 && group.era === era && !entry.isReceived) waiting.push(entry);
      }
    }
    return waiting.sort((a, b) => a.position - b.position || a.group!.ordinal - b.group!.ordinal);
  }

  /** A message that was kept aside is sent to a member, or handed to one: it is owed from now on. */
  #claim(session: SessionNumber, position: Position, ordinal: GroupOrdinal): SharedMessage | undefined {
    const unclaimed = this.#unclaimed;
    if (!unclaimed.find(position, ordinal)) return undefined;
    const routed = unclaimed.routed!;
    if (session !== 0 && !routed.group.members.has(session)) return undefined;
    return this.#owe(routed, position, unclaimed.size, unclaimed.messageFlags);
  }

  #owe({ group, owed }: RoutedGroup, position: Position, size: number, messageFlags: number): SharedMessage {
    const entry = new ReplayedEntry(position, size, messageFlags, NO_IDENTIFIERS, 0);
    entry.group = owed;
    const shared: SharedMessage = { entry, group, messageFlags, holder: 0, era: group.era };
    this.#put(shared);
    return shared;
  }

  #put(shared: SharedMessage): void {
    const { position } = shared.entry;
    const messages = this.#messages.get(position);
    if (messages === undefined) this.#messages.set(position, [shared]);
    else messages.push(shared);
  }

  #remove(shared: SharedMessage): void {
    const { position } = shared.entry;
    const messages = this.#messages.get(position)!;
    if (messages.length > 1) messages.splice(messages.indexOf(shared), 1);
    else this.#messages.delete(position);
    this.#held.get(shared.holder)?.delete(shared);
  }

  #hold(shared: SharedMessage, session: SessionNumber): void {
    if (shared.holder === session) return;
    this.#held.get(shared.holder)?.delete(shared);
    shared.holder = session;
    const held = this.#held.get(session);
    if (held === undefined) this.#held.set(session, new Set([shared]));
    else held.add(shared);
  }

  #toBacklog(shared: SharedMessage): void {
    this.#held.get(shared.holder)?.delete(shared);
    shared.holder = 0;
    shared.era = shared.group.era;
    shared.entry.packetId = 0;
  }

  #grant(shared: SharedMessage, session: SessionNumber): void {
    const { entry, group, messageFlags } = shared;
    const grant = this.#grantOf(session, sharedFilterOf(group.name, group.filter));
    if (grant === undefined) return;
    const isRetained = (messageFlags & 4) !== 0 && grant.retainAsPublished;
    entry.flags = Math.min(messageFlags & 3, grant.qos) | (isRetained ? 4 : 0);
    entry.identifiers = grant.identifiers;
  }
}

/** A Shared Subscription's Topic Filter as a client writes it. */
function sharedFilterOf(name: string, filter: string): string {
  return `${SHARE}${name}/${filter}`;
}

function partsOf(sharedFilter: string): { readonly name: string; readonly filter: string } | undefined {
  if (!sharedFilter.startsWith(SHARE)) return undefined;
  const slash = sharedFilter.indexOf("/", SHARE.length);
  if (slash === -1) return undefined;
  return { name: sharedFilter.slice(SHARE.length, slash), filter: sharedFilter.slice(slash + 1) };
}

const SHARE = "$share/";
const NO_IDENTIFIERS: readonly number[] = [];
