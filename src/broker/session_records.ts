/**
 * What the store knows of recorded Sessions: that they were opened, went offline, ended.
 *
 * A CONNECT is recorded before it is answered, and may be given up in between; another one may come first. So this
 * file remembers for each recorded Session what the records say, and `correct` appends what is missing for them to say
 * the truth again.
 */
import type { Session } from "../session/session.ts";
import type { MessageStore } from "../storage/message_store.ts";
import type { OpenChange, Position, SessionChange } from "../storage/model/stored.ts";
import type { Router } from "./router.ts";

/** What the records say of a Session, and when it really went offline last. */
interface Recorded {
  sessionExpiryInterval: number;
  username: string | undefined;
  isOnline: boolean;
  /** Broker time in milliseconds; meaningless before the first connection ended. */
  offlineAtMs: number;
}

/** See the head of this file. */
export class SessionRecords {
  readonly #store: MessageStore["Service"];
  readonly #router: Router;
  readonly #recorded = new Map<Session, Recorded>();
  /** Ends that may not be committed yet, by Client Identifier, oldest first. */
  readonly #ends = new Map<string, Position>();

  constructor(store: MessageStore["Service"], router: Router) {
    this.#store = store;
    this.#router = router;
  }

  /** True when Sessions that outlive their connection are recorded. */
  get isDurable(): boolean {
    return this.#store.isDurable;
  }

  /** True while the store has no room for another Session. */
  get isFull(): boolean {
    return this.#store.isDurable && this.#store.isFull;
  }

  /** False once no new Session can be told apart from all that were. */
  get hasNumbers(): boolean {
    return !this.#store.isDurable || this.#store.hasSessionNumbers;
  }

  /** Gives a new Session that outlives its connection its number. It must not have subscriptions yet. */
  begin(session: Session): void {
    if (this.#store.isDurable) session.record(this.#store.newSessionNumber());
  }

  /** Takes over what the store knew at the start. */
  restored(session: Session, offlineAtMs: number | null): void {
    const { sessionExpiryInterval, username } = session;
    const isOnline = offlineAtMs === null;
    this.#recorded.set(session, { sessionExpiryInterval, username, isOnline, offlineAtMs: offlineAtMs ?? 0 });
  }

  /** Records that a Session is opened, or what changed of it; nothing for one without a number. */
  opened(session: Session, sessionExpiryInterval: number, username: string | undefined): void {
    if (!session.isRecorded) return;
    const known = this.#recorded.get(session);
    if (known === undefined) {
      this.#recorded.set(session, { sessionExpiryInterval, username, isOnline: true, offlineAtMs: 0 });
    } else {
      known.sessionExpiryInterval = sessionExpiryInterval;
      known.username = username;
      known.isOnline = true;
    }
    const { clientId, recordNumber } = session;
    const change: OpenChange = { kind: "open", session: recordNumber, clientId, sessionExpiryInterval };
    this.#append(username === undefined ? change : { ...change, username });
  }

  /** Records that the connection of a Session ended. */
  offline(session: Session, atMs: number): void {
    const known = this.#recorded.get(session);
    if (known === undefined) return;
    known.isOnline = false;
    known.offlineAtMs = atMs;
    this.#append({ kind: "offline", session: session.recordNumber, atMs });
  }

  /** Records that a Session ended. */
  ended(session: Session): void {
    if (!this.#recorded.delete(session)) return;
    this.#forgetCommittedEnds();
    // Deleted first, so that the map stays in the order of positions.
    this.#ends.delete(session.clientId);
    this.#ends.set(session.clientId, this.#append({ kind: "end", session: session.recordNumber }));
  }

  /**
   * Makes the records say the truth: after a CONNECT that was given up, or when a connection ended between the record of a
   * CONNECT and its answer.
   */
  correct(session: Session): void {
    const known = this.#recorded.get(session);
    if (known === undefined) return;
    const { sessionExpiryInterval, username, isOnline } = session;
    const isOpenTrue = known.sessionExpiryInterval === sessionExpiryInterval && known.username === username;
    if (isOpenTrue && known.isOnline === isOnline) return;
    const { offlineAtMs } = known;
    if (!isOpenTrue || isOnline) this.opened(session, sessionExpiryInterval, username);
    if (!isOnline) this.offline(session, offlineAtMs);
  }

  /** Position of the end of a client's last Session while it is not committed, else 0. */
  pendingEndOf(clientId: string): Position {
    this.#forgetCommittedEnds();
    return this.#ends.get(clientId) ?? 0;
  }

  #forgetCommittedEnds(): void {
    for (const [clientId, position] of this.#ends) {
      if (position > this.#store.committed) return;
      this.#ends.delete(clientId);
    }
  }

  #append(change: SessionChange): Position {
    // A timer has no turn of its own that would commit it.
    this.#router.commitSoon();
    return this.#store.appendSessionChange(change);
  }
}
