/**
 * The users of a password file while the broker runs: who there is, whether a password is right, and what to measure
 * an unknown name by.
 *
 * **Unknown names.** Whoever asks for a name must not learn from the answer's time or shape whether it exists. So a
 * question about an unknown name is answered with the hash of some user of the file, whose result is thrown away. Which
 * user is a keyed function of the name: the same name always costs the same, and unknown names cost on the whole what
 * known ones do, also where the file mixes kinds of hashes.
 *
 * **How many at once.** A hash takes a tenth of a second of a core and tens of megabytes, for whoever can send a
 * CONNECT. So few run at the same time, which leaves cores to the broker, and few wait, which keeps the wait below what
 * clients put up with. What comes on top is turned away at once. A hash that was begun cannot be stopped, and keeps its
 * place until it ends.
 */
import * as Cache from "effect/Cache";
import * as Effect from "effect/Effect";
import { randomBytes } from "node:crypto";
import { type LineBounds, makeWaitingLine } from "../backend/waiting_line.ts";
import type { BackendBusy, BackendUnavailable } from "../identity/errors.ts";
import type { Answer } from "../identity/questions.ts";
import type { PasswordEntries, PasswordEntry } from "./password_entries.ts";
import type { PasswordHash, ScramVerifier } from "./password_hash.ts";
import { hmacSha256, type PasswordCheck } from "./password_hasher.ts";
import { VerifiedPasswords } from "./verified_passwords.ts";

/** What came of checking a password. */
export type CheckOutcome = PasswordEntry | "unknown" | "wrong";

const HASH_LINE: LineBounds = {
  backend: "password-file",
  /**
   * On half of the cores. With hashes on both cores of a machine that has two, a flood of wrong passwords raised the
   * 99th percentile of other clients' round trips from 0.8 to 156 ms; with one, to 12 ms.
   */
  atWorkMax: Math.max(1, Math.floor(navigator.hardwareConcurrency / 2)),
  /** 7 to 13 s with the scrypt of `promptmq user add` and one at a time. */
  waitingMax: 128,
};

/** A user as SCRAM needs it. */
export interface ScramUser {
  readonly entry: PasswordEntry;
  readonly verifier: ScramVerifier;
}

/** See the head of this file. */
export class PasswordUsers {
  readonly #nowMs: () => number;
  readonly #secret = randomBytes(32);
  readonly #verified = new VerifiedPasswords();
  readonly #underWay: HashesUnderWay;
  #byName: ReadonlyMap<string, PasswordEntry> = new Map();
  #entries: readonly PasswordEntry[] = [];
  #scramUsers: readonly ScramUser[] = [];

  private constructor(nowMs: () => number, underWay: HashesUnderWay) {
    this.#nowMs = nowMs;
    this.#underWay = underWay;
  }

  /**
   * Without users at first.
   *
   * @param nowMs Milliseconds of a clock that nobody sets.
   */
  static readonly make = Effect.fnUntraced(function* (
    check: PasswordCheck,
    nowMs: () => number,
    bounds: Partial<LineBounds> = {},
  ) {
    const line = makeWaitingLine({ ...HASH_LINE, ...bounds });
    const underWay = yield* Cache.make({
      lookup: ({ hash, password }: Hashing) => line(Effect.suspend(() => check(hash, password))),
      capacity: Infinity,
      timeToLive: 0,
    });
    return new PasswordUsers(nowMs, underWay);
  });

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

  /** Checks a password, whose bytes must stay as they are until then. */
  check(username: string, password: Uint8Array): Answer<CheckOutcome, BackendUnavailable | BackendBusy> {
    const known = this.#byName.get(username);
    const entry = known ?? this.#choose(this.#entries, username);
    if (entry === undefined) return "unknown";
    const digest = this.#verified.digestOf(username, password);
    if (known !== undefined && this.#verified.has(digest, this.#nowMs())) return known;
    return Effect.map(Cache.get(this.#underWay, { digest, hash: entry.hash, password }), (isRight) => {
      if (known === undefined) return "unknown";
      // The file may have changed meanwhile: a user that was removed or got another password does not come in.
      if (!isRight || !this.isCurrent(known)) return "wrong";
      this.#verified.add(digest, this.#nowMs());
      return known;
    });
  }

  #choose<A>(all: readonly A[], username: string): A | undefined {
    const bytes = hmacSha256(this.#secret, username);
    const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
    return all[number % all.length];
  }
}

/** A hash under way: a storm of one and the same name, password and entry computes it once. Bounded by the line. */
interface Hashing {
  /** Of name and password. */
  readonly digest: string;
  readonly hash: PasswordHash;
  readonly password: Uint8Array;
}

type HashesUnderWay = Cache.Cache<Hashing, boolean, BackendUnavailable | BackendBusy>;

function scramUserOf(entry: PasswordEntry): ScramUser | undefined {
  return entry.hash.kind === "scram-sha-256" ? { entry, verifier: entry.hash } : undefined;
}
