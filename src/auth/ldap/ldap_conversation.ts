/**
 * One client's name and password put to a directory, on a connection of its own.
 *
 *   direct:  connect ─▶ bind as the client ─▶ read its entry ─┐
 *   search:  connect ─▶ (bind as service) ─▶ search ─▶ bind as the client ─┐
 *                                                             └────────────┴─▶ (bind as service) ─▶ search groups
 *
 * A connection is as long as one verification, because what a connection may do depends on who was bound last; sharing
 * one would need that to be right in every failure.
 *
 * A directory compares names loosely: `alice`, `ALICE` and ` alice ` are one entry. Rules and bans compare exactly, so
 * an identity has the name as the directory writes it, or a client could slip out of a rule by writing it otherwise.
 */
import * as Effect from "effect/Effect";
import { failureText } from "../backend/failure_text.ts";
import { BackendUnavailable } from "../identity/errors.ts";
import { LdapConnection } from "./ldap_connection.ts";
import { fillDn, parseFilter } from "./ldap_filter.ts";
import { type Entry, ResultCode } from "./ldap_messages.ts";
import type { LdapPlan, UserPlan } from "./ldap_settings.ts";

/** What the files say now. */
export interface LdapSecrets {
  readonly ca: string | undefined;
  readonly bindPassword: string | undefined;
}

/** What came of a conversation; `account` means a password that may be right and an account that may not be used. */
export type LdapOutcome =
  | { readonly kind: "known"; readonly username: string; readonly groups: readonly string[] }
  | { readonly kind: "unknown" | "wrong_password" | "ambiguous" | "account" | "other_name" };

/** Groups of one client. With more, rules could not be told to hold. */
export const LDAP_GROUPS_MAX = 1000;

/**
 * Asks about one client; fails when the directory does not do its part, and is over in time either way. The connection
 * is closed whatever ends the conversation.
 *
 * @param username Not empty.
 * @param password Not empty.
 */
export function askDirectory(
  plan: LdapPlan,
  secrets: LdapSecrets,
  username: string,
  password: Uint8Array,
): Effect.Effect<LdapOutcome, BackendUnavailable> {
  return Effect.suspend(() => new Conversation(plan, secrets).identify(username, password));
}

type Known = { readonly kind: "known"; readonly username: string; readonly dn: string };
type NotKnown = Exclude<LdapOutcome, { readonly kind: "known" }>;

type Step<A> = Effect.Effect<A, BackendUnavailable>;

class Conversation {
  readonly #plan: LdapPlan;
  readonly #secrets: LdapSecrets;
  readonly #connection = new LdapConnection();
  /** What is being done, for the one that gives up. */
  #operation = "connect";

  constructor(plan: LdapPlan, secrets: LdapSecrets) {
    this.#plan = plan;
    this.#secrets = secrets;
  }

  identify(username: string, password: Uint8Array): Step<LdapOutcome> {
    const { timeoutMs } = this.#plan;
    return this.#identify(username, password).pipe(
      Effect.timeoutOrElse({
        duration: timeoutMs,
        orElse: () => this.#fail(this.#operation, `no answer within ${timeoutMs} ms`),
      }),
      Effect.ensuring(Effect.sync(() => this.#connection.destroy())),
    );
  }

  readonly #identify = Effect.fnUntraced({ self: this }, function* (
    this: Conversation,
    username: string,
    password: Uint8Array,
  ) {
    const { user, target } = this.#plan;
    const { ca } = this.#secrets;
    yield* this.#step("connect", (connection, signal) => connection.open({ ...target, ca }, signal));
    const found = user.kind === "direct"
      ? yield* this.#bindDirectly(user, username, password)
      : yield* this.#searchAndBind(user, username, password);
    const outcome = found.kind === "known"
      ? { kind: "known" as const, username: found.username, groups: yield* this.#groupsOf(found) }
      : found;
    // What was found out does not depend on how the directory takes the end.
    yield* Effect.ignore(this.#step("say goodbye", (connection) => connection.unbind()));
    return outcome;
  });

  readonly #bindDirectly = Effect.fnUntraced({ self: this }, function* (
    this: Conversation,
    user: UserPlan & { readonly kind: "direct" },
    username: string,
    password: Uint8Array,
  ) {
    const dn = fillDn(user.dn, username);
    const known: Known = { kind: "known", username, dn };
    const refusal = yield* this.#bindAsClient(dn, password);
    if (refusal !== undefined) return refusal;
    const { nameAttribute } = user;
    if (nameAttribute === undefined) return known;
    const { code, entries: [entry] } = yield* this.#step(
      "read the entry of a client",
      (connection) => connection.search(this.#search(dn, "base", ANY_ENTRY, [nameAttribute], 1)),
    );
    // Not every directory lets clients read themselves; the name is then as the client wrote it.
    const names = code === ResultCode.SUCCESS && entry !== undefined ? namesOf(entry) : [];
    return names.length === 0 ? known : spelled(names, username, dn);
  });

  readonly #searchAndBind = Effect.fnUntraced({ self: this }, function* (
    this: Conversation,
    user: UserPlan & { readonly kind: "search" },
    username: string,
    password: Uint8Array,
  ) {
    if (this.#plan.serviceDn !== undefined) yield* this.#becomeService();
    const { nameAttributes } = user.filter;
    const attributes = nameAttributes.length === 0 ? NO_ATTRIBUTES : nameAttributes;
    const filter = user.filter.encode({ username });
    const operation = "search for a client";
    const { code, entries: [entry] } = yield* this.#step(
      operation,
      (connection) => connection.search(this.#search(user.base, "subtree", filter, attributes, 1)),
    );
    if (code === ResultCode.SIZE_LIMIT_EXCEEDED) return { kind: "ambiguous" } as const;
    if (code !== ResultCode.SUCCESS) return yield* this.#fail(operation, `result code ${code}`);
    if (entry === undefined) return { kind: "unknown" } as const;
    if (entry.dn === "") return yield* this.#fail(operation, "an entry without a name was found");
    const refusal = yield* this.#bindAsClient(entry.dn, password);
    if (refusal !== undefined) return refusal;
    if (nameAttributes.length === 0) return { kind: "known", username, dn: entry.dn } as const;
    const names = namesOf(entry);
    if (names.length === 0) {
      return yield* this.#fail(operation, `${nameAttributes.join(" and ")} of entries cannot be read`);
    }
    return spelled(names, username, entry.dn);
  });

  readonly #bindAsClient = Effect.fnUntraced({ self: this }, function* (
    this: Conversation,
    dn: string,
    password: Uint8Array,
  ) {
    const operation = "check a password";
    const code = yield* this.#step(operation, (connection) => connection.bind(dn, password));
    switch (code) {
      case ResultCode.SUCCESS:
        return undefined;
      case ResultCode.INVALID_CREDENTIALS:
      case ResultCode.INAPPROPRIATE_AUTHENTICATION:
      case ResultCode.NO_SUCH_OBJECT:
      case ResultCode.INVALID_DN_SYNTAX:
        return { kind: "wrong_password" } as const;
      case ResultCode.CONSTRAINT_VIOLATION:
      case ResultCode.INSUFFICIENT_ACCESS_RIGHTS:
      case ResultCode.UNWILLING_TO_PERFORM:
        return { kind: "account" } as const;
      default:
        return yield* this.#fail(operation, `result code ${code}`);
    }
  });

  readonly #becomeService = Effect.fnUntraced({ self: this }, function* (this: Conversation) {
    const { serviceDn } = this.#plan;
    const password = new TextEncoder().encode(this.#secrets.bindPassword);
    const operation = "bind as the service account";
    const code = yield* this.#step(
      operation,
      (connection) => serviceDn === undefined ? connection.bindAnonymously() : connection.bind(serviceDn, password),
    );
    if (code !== ResultCode.SUCCESS) return yield* this.#fail(operation, `result code ${code}`);
  });

  readonly #groupsOf = Effect.fnUntraced({ self: this }, function* (this: Conversation, { username, dn }: Known) {
    const { user, groups, serviceDn } = this.#plan;
    if (groups === undefined) return [];
    // A client need not have the right to read groups; only where there is no service account it asks itself.
    if (user.kind === "search" || serviceDn !== undefined) yield* this.#becomeService();
    const filter = groups.filter.encode({ username, dn });
    const operation = "search for groups";
    const { code, entries } = yield* this.#step(
      operation,
      (connection) =>
        connection.search(this.#search(groups.base, "subtree", filter, [groups.attribute], LDAP_GROUPS_MAX)),
    );
    if (code !== ResultCode.SUCCESS) return yield* this.#fail(operation, `result code ${code}`);
    const names = new Set(entries.flatMap((entry) => entry.attributes.get(groups.attribute) ?? []));
    if (names.size > LDAP_GROUPS_MAX) {
      return yield* this.#fail(operation, `a client is in more than ${LDAP_GROUPS_MAX} groups`);
    }
    return [...names];
  });

  #search(
    base: string,
    scope: "base" | "subtree",
    filter: Uint8Array,
    attributes: readonly string[],
    entriesMax: number,
  ) {
    return { base, scope, filter, attributes, entriesMax, timeLimitSeconds: Math.ceil(this.#plan.timeoutMs / 1000) };
  }

  /** One step; whatever goes wrong in it is the directory's, or the network's on the way to it. */
  #step<A>(operation: string, run: (connection: LdapConnection, signal: AbortSignal) => Promise<A>): Step<A> {
    return Effect.tryPromise({
      try: (signal) => {
        this.#operation = operation;
        return run(this.#connection, signal);
      },
      catch: (cause) => this.#fail(operation, failureText(cause), cause),
    });
  }

  #fail(operation: string, detail: string, cause?: unknown): BackendUnavailable {
    return new BackendUnavailable({ backend: "ldap", operation, detail, cause });
  }
}

/** `(objectClass=*)`: every entry matches. */
const ANY_ENTRY = encoded("(objectClass=*)");
/** Asks for entries without attributes. [RFC 4511, 4.5.1.8] */
const NO_ATTRIBUTES = ["1.1"];

function encoded(source: string): Uint8Array {
  const filter = parseFilter(source);
  if (typeof filter === "string") throw new Error(filter);
  return filter.encode({});
}

/** Everything that was asked for: attributes that name the entry, also under the names of their subtypes. */
function namesOf(entry: Entry): readonly string[] {
  return [...entry.attributes.values()].flat();
}

function spelled(names: readonly string[], username: string, dn: string): Known | NotKnown {
  const spelling = names.includes(username) ? username : names.find((name) => loose(name) === loose(username));
  return spelling === undefined ? { kind: "other_name" } : { kind: "known", username: spelling, dn };
}

/** Near enough to how directories compare: compatible characters, small letters, spaces as one. [RFC 4518] */
function loose(name: string): string {
  return name.normalize("NFKC").toLowerCase().trim().replace(/\s+/g, " ");
}
