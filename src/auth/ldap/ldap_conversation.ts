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
import { LdapConnection, type SearchOutcome } from "./ldap_connection.ts";
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
 * Asks about one client; fails when the directory does not do its part in time. The connection is closed whatever ends
 * the conversation.
 *
 * @param username Not empty.
 * @param password Not empty.
 */
export function askDirectory(
  plan: LdapPlan,
  secrets: LdapSecrets,
  username: string,
  password: Uint8Array,
): Step<LdapOutcome> {
  return Effect.suspend(() => new Conversation(plan, secrets, username, password).run);
}

type Known = { readonly kind: "known"; readonly username: string; readonly dn: string };
type NotKnown = Exclude<LdapOutcome, { readonly kind: "known" }>;
type Step<A> = Effect.Effect<A, BackendUnavailable>;

class Conversation {
  readonly #plan: LdapPlan;
  readonly #secrets: LdapSecrets;
  readonly #username: string;
  readonly #password: Uint8Array;
  readonly #connection = new LdapConnection();
  /** What is being done, for the one that gives up. */
  #operation = "connect";

  constructor(plan: LdapPlan, secrets: LdapSecrets, username: string, password: Uint8Array) {
    this.#plan = plan;
    this.#secrets = secrets;
    this.#username = username;
    this.#password = password;
  }

  get run(): Step<LdapOutcome> {
    const { timeoutMs: duration } = this.#plan;
    return this.#identify.pipe(
      Effect.timeoutOrElse({ duration, orElse: () => this.#fail(this.#operation, `no answer within ${duration} ms`) }),
      Effect.ensuring(Effect.sync(() => this.#connection.destroy())),
    );
  }

  readonly #identify = Effect.gen({ self: this }, function* () {
    const { user, target } = this.#plan;
    const { ca } = this.#secrets;
    yield* this.#step("connect", (connection, signal) => connection.open({ ...target, ca }, signal));
    const found = yield* user.kind === "direct" ? this.#bindDirectly(user) : this.#searchAndBind(user);
    const outcome: LdapOutcome = found.kind === "known"
      ? { kind: "known", username: found.username, groups: yield* this.#groupsOf(found) }
      : found;
    // What was found out does not depend on how the directory takes the end.
    yield* Effect.ignore(this.#step("say goodbye", (connection) => connection.unbind()));
    return outcome;
  });

  #bindDirectly({ dn: template, nameAttribute }: UserPlan & { readonly kind: "direct" }): Step<Known | NotKnown> {
    return Effect.gen({ self: this }, function* () {
      const username = this.#username;
      const dn = fillDn(template, username);
      const refusal = yield* this.#bindAsClient(dn);
      if (refusal !== undefined) return refusal;
      if (nameAttribute === undefined) return { kind: "known", username, dn };
      const operation = "read the entry of a client";
      const { code, entries: [entry] } = yield* this.#search(operation, dn, "base", ANY_ENTRY, [nameAttribute], 1);
      // Not every directory lets clients read themselves; the name is then as the client wrote it.
      const names = code === ResultCode.SUCCESS && entry !== undefined ? namesOf(entry) : [];
      return names.length === 0 ? { kind: "known", username, dn } : spelled(names, username, dn);
    });
  }

  #searchAndBind({ base, filter }: UserPlan & { readonly kind: "search" }): Step<Known | NotKnown> {
    return Effect.gen({ self: this }, function* () {
      const username = this.#username;
      if (this.#plan.serviceDn !== undefined) yield* this.#becomeService;
      const { nameAttributes } = filter;
      const attributes = nameAttributes.length === 0 ? NO_ATTRIBUTES : nameAttributes;
      const operation = "search for a client";
      const search = this.#search(operation, base, "subtree", filter.encode({ username }), attributes, 1);
      const { code, entries: [entry] } = yield* search;
      if (code === ResultCode.SIZE_LIMIT_EXCEEDED) return { kind: "ambiguous" };
      if (code !== ResultCode.SUCCESS) return yield* this.#fail(operation, `result code ${code}`);
      if (entry === undefined) return { kind: "unknown" };
      if (entry.dn === "") return yield* this.#fail(operation, "an entry without a name was found");
      const refusal = yield* this.#bindAsClient(entry.dn);
      if (refusal !== undefined) return refusal;
      if (nameAttributes.length === 0) return { kind: "known", username, dn: entry.dn };
      const names = namesOf(entry);
      if (names.length > 0) return spelled(names, username, entry.dn);
      return yield* this.#fail(operation, `${nameAttributes.join(" and ")} of entries cannot be read`);
    });
  }

  #bindAsClient(dn: string): Step<NotKnown | undefined> {
    return Effect.gen({ self: this }, function* () {
      const operation = "check a password";
      const code = yield* this.#step(operation, (connection) => connection.bind(dn, this.#password));
      switch (code) {
        case ResultCode.SUCCESS:
          return undefined;
        case ResultCode.INVALID_CREDENTIALS:
        case ResultCode.INAPPROPRIATE_AUTHENTICATION:
        case ResultCode.NO_SUCH_OBJECT:
        case ResultCode.INVALID_DN_SYNTAX:
          return { kind: "wrong_password" };
        case ResultCode.CONSTRAINT_VIOLATION:
        case ResultCode.INSUFFICIENT_ACCESS_RIGHTS:
        case ResultCode.UNWILLING_TO_PERFORM:
          return { kind: "account" };
        default:
          return yield* this.#fail(operation, `result code ${code}`);
      }
    });
  }

  readonly #becomeService = Effect.gen({ self: this }, function* () {
    const { serviceDn: dn } = this.#plan;
    const password = new TextEncoder().encode(this.#secrets.bindPassword);
    const operation = "bind as the service account";
    const bind = (connection: LdapConnection) =>
      dn === undefined ? connection.bindAnonymously() : connection.bind(dn, password);
    const code = yield* this.#step(operation, bind);
    if (code !== ResultCode.SUCCESS) return yield* this.#fail(operation, `result code ${code}`);
  });

  #groupsOf({ username, dn }: Known): Step<readonly string[]> {
    return Effect.gen({ self: this }, function* () {
      const { user, groups, serviceDn } = this.#plan;
      if (groups === undefined) return [];
      // A client need not have the right to read groups; only where there is no service account it asks itself.
      if (user.kind === "search" || serviceDn !== undefined) yield* this.#becomeService;
      const { base, filter, attribute } = groups;
      const operation = "search for groups";
      const wanted = filter.encode({ username, dn });
      const found = yield* this.#search(operation, base, "subtree", wanted, [attribute], LDAP_GROUPS_MAX);
      if (found.code !== ResultCode.SUCCESS) return yield* this.#fail(operation, `result code ${found.code}`);
      const names = new Set(found.entries.flatMap(({ attributes }) => attributes.get(attribute) ?? []));
      if (names.size <= LDAP_GROUPS_MAX) return [...names];
      return yield* this.#fail(operation, `a client is in more than ${LDAP_GROUPS_MAX} groups`);
    });
  }

  #search(
    operation: string,
    base: string,
    scope: "base" | "subtree",
    filter: Uint8Array,
    attributes: readonly string[],
    entriesMax: number,
  ): Step<SearchOutcome> {
    const timeLimitSeconds = Math.ceil(this.#plan.timeoutMs / 1000);
    const search = { base, scope, filter, attributes, entriesMax, timeLimitSeconds };
    return this.#step(operation, (connection) => connection.search(search));
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
