/**
 * The users of a password file while the broker runs: who there is, whether a password is right, and what to measure
 * an unknown name by.
 *
 * **Unknown names.** Whoever asks for a name must not learn from the answer's time or shape whether it exists. So a
 * question about an unknown name is answered with the hash of some user of the file, whose result is thrown away. Which
 * user is a keyed function of the name: the same name always costs the same, and unknown names cost on the whole what
 * known ones do, also where the file mixes kinds of hashes.
 */
import { randomBytes } from "node:crypto";
import type { HashQueue } from "./hash_queue.ts";
import type { PasswordEntries, PasswordEntry } from "./password_entries.ts";
import type { ScramVerifier } from "./password_hash.ts";
import { hmacSha256, type PasswordCheck } from "./password_hasher.ts";
import { VerifiedPasswords } from "./verified_passwords.ts";

/** What came of checking a password. `busy`: too much waits already. `failed`: the runtime could not compute it. */
export type CheckOutcome = PasswordEntry | "unknown" | "wrong" | "busy" | "failed";

/** A user as SCRAM needs it. */
export interface ScramUser {
  readonly entry: PasswordEntry;
  readonly verifier: ScramVerifier;
}

/** See the head of this file. */
export class PasswordUsers {
  readonly #check: PasswordCheck;
  readonly #queue: HashQueue;
  readonly #nowMs: () => number;
  readonly #secret = randomBytes(32);
  readonly #verified = new VerifiedPasswords();
  /** Hashes under way by digest: a storm of one and the same pair computes it once. Bounded by the queue. */
  readonly #underWay = new Map<string, Promise<boolean>>();
  #byName: ReadonlyMap<string, PasswordEntry> = new Map();
  #entries: readonly PasswordEntry[] = [];
  #scramUsers: readonly ScramUser[] = [];

  constructor(check: PasswordCheck, queue: HashQueue, nowMs: () => number) {
    this.#check = check;
    this.#queue = queue;
    this.#nowMs = nowMs;
  }

  /** How many there are. */
  get size(): number {
    return this.#entries.length;
  }

  /** Takes the users of a file without problems in place of those it had. */
  replace({ byName }: PasswordEntries): void {
    this.#byName = byName;
    this.#entries = [...byName.values()];
    this.#scramUsers = this.#entries.flatMap((entry) => scramUserOf(entry) ?? []);
    this.#verified.clear();
    // What is being computed belongs to the file that was; whoever waits for it looks at the new one afterwards.
    this.#underWay.clear();
  }

  /** True when there is such a user. */
  has(username: string): boolean {
    return this.#byName.has(username);
  }

  /** True while the file says of this user what it said when the entry was read. */
  isCurrent(entry: PasswordEntry): boolean {
    return this.#byName.get(entry.username)?.line === entry.line;
  }

  /** The user, if SCRAM can serve it. */
  scramUser(username: string): ScramUser | undefined {
    const entry = this.#byName.get(username);
    return entry === undefined ? undefined : scramUserOf(entry);
  }

  /** Some user that SCRAM can serve, always the same one for a name; undefined when there is none. */
  scramUserLike(username: string): ScramUser | undefined {
    return this.#choose(this.#scramUsers, username);
  }

  /** Checks a password. Never rejects. The bytes must stay as they are until then. */
  async check(username: string, password: Uint8Array): Promise<CheckOutcome> {
    const known = this.#byName.get(username);
    const entry = known ?? this.#choose(this.#entries, username);
    if (entry === undefined) return "unknown";
    const digest = this.#verified.digestOf(username, password);
    if (known !== undefined && this.#verified.has(digest, this.#nowMs())) return known;
    const computing = this.#underWay.get(digest) ?? this.#compute(digest, entry, password);
    if (computing === undefined) return "busy";
    let isRight: boolean;
    try {
      isRight = await computing;
    } catch {
      // Only memory can be missing. The client may try again; nothing here is worth a line per CONNECT.
      return "failed";
    }
    if (known === undefined) return "unknown";
    // The file may have changed meanwhile: a user that was removed or got another password does not come in.
    if (!isRight || !this.isCurrent(known)) return "wrong";
    this.#verified.add(digest, this.#nowMs());
    return known;
  }

  #compute(digest: string, entry: PasswordEntry, password: Uint8Array): Promise<boolean> | undefined {
    const computing = this.#queue.run(() => this.#check(entry.hash, password));
    if (computing === undefined) return undefined;
    this.#underWay.set(digest, computing);
    const forget = () => {
      if (this.#underWay.get(digest) === computing) this.#underWay.delete(digest);
    };
    computing.then(forget, forget);
    return computing;
  }

  #choose<A>(all: readonly A[], username: string): A | undefined {
    const bytes = hmacSha256(this.#secret, username);
    const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
    return all[number % all.length];
  }
}

function scramUserOf(entry: PasswordEntry): ScramUser | undefined {
  return entry.hash.kind === "scram-sha-256" ? { entry, verifier: entry.hash } : undefined;
}
