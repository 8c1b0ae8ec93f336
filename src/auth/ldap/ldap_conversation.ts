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
 * Asks about one client.
 *
 * @param username Not empty.
 * @param password Not empty.
 * @param signal Ends the conversation.
 * @throws BackendUnavailable when the directory does not do its part; rejects with nothing else.
 */
export async function askDirectory(
  plan: LdapPlan,
  secrets: LdapSecrets,
  username: string,
  password: Uint8Array,
  signal: AbortSignal,
): Promise<LdapOutcome> {
  const target = { ...plan.target, ca: secrets.ca };
  const connection = await attempt(plan, "connect", signal, () => LdapConnection.open(target, signal));
  try {
    return await new Conversation(plan, secrets, signal, connection).identify(username, password);
  } finally {
    await connection.close();
  }
}

type Known = { readonly kind: "known"; readonly username: string; readonly dn: string };
type NotKnown = Exclude<LdapOutcome, { readonly kind: "known" }>;

class Conversation {
  readonly #plan: LdapPlan;
  readonly #secrets: LdapSecrets;
  readonly #signal: AbortSignal;
  readonly #connection: LdapConnection;

  constructor(plan: LdapPlan, secrets: LdapSecrets, signal: AbortSignal, connection: LdapConnection) {
    this.#plan = plan;
    this.#secrets = secrets;
    this.#signal = signal;
    this.#connection = connection;
  }

  async identify(username: string, password: Uint8Array): Promise<LdapOutcome> {
    const { user, groups } = this.#plan;
    const found = user.kind === "direct"
      ? await this.#bindDirectly(user, username, password)
      : await this.#searchAndBind(user, username, password);
    if (found.kind !== "known") return found;
    if (groups === undefined) return { kind: "known", username: found.username, groups: [] };
    // A client need not have the right to read groups; only where there is no service account it asks itself.
    if (user.kind === "search" || this.#plan.serviceDn !== undefined) await this.#becomeService();
    return { kind: "known", username: found.username, groups: await this.#groupsOf(found, groups) };
  }

  async #bindDirectly(
    user: UserPlan & { readonly kind: "direct" },
    username: string,
    password: Uint8Array,
  ): Promise<Known | NotKnown> {
    const dn = fillDn(user.dn, username);
    const refusal = await this.#bindAsClient(dn, password);
    if (refusal !== undefined) return refusal;
    if (user.nameAttribute === undefined) return { kind: "known", username, dn };
    const { code, entries: [entry] } = await this.#step(
      "read the entry of a client",
      (connection) => connection.search(this.#search(dn, "base", ANY_ENTRY, [user.nameAttribute!], 1)),
    );
    // Not every directory lets clients read themselves; the name is then as the client wrote it.
    const names = code === ResultCode.SUCCESS && entry !== undefined ? namesOf(entry) : [];
    return names.length === 0 ? { kind: "known", username, dn } : spelled(names, username, dn);
  }

  async #searchAndBind(
    user: UserPlan & { readonly kind: "search" },
    username: string,
    password: Uint8Array,
  ): Promise<Known | NotKnown> {
    if (this.#plan.serviceDn !== undefined) await this.#becomeService();
    const { nameAttributes } = user.filter;
    const attributes = nameAttributes.length === 0 ? NO_ATTRIBUTES : nameAttributes;
    const filter = user.filter.encode({ username });
    const operation = "search for a client";
    const { code, entries: [entry] } = await this.#step(
      operation,
      (connection) => connection.search(this.#search(user.base, "subtree", filter, attributes, 1)),
    );
    if (code === ResultCode.SIZE_LIMIT_EXCEEDED) return { kind: "ambiguous" };
    if (code !== ResultCode.SUCCESS) return this.#fail(operation, `result code ${code}`);
    if (entry === undefined) return { kind: "unknown" };
    if (entry.dn === "") return this.#fail(operation, "an entry without a name was found");
    const refusal = await this.#bindAsClient(entry.dn, password);
    if (refusal !== undefined) return refusal;
    if (nameAttributes.length === 0) return { kind: "known", username, dn: entry.dn };
    const names = namesOf(entry);
    if (names.length === 0) return this.#fail(operation, `${nameAttributes.join(" and ")} of entries cannot be read`);
    return spelled(names, username, entry.dn);
  }

  async #bindAsClient(dn: string, password: Uint8Array): Promise<NotKnown | undefined> {
    const operation = "check a password";
    const code = await this.#step(operation, (connection) => connection.bind(dn, password));
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
        return this.#fail(operation, `result code ${code}`);
    }
  }

  async #becomeService(): Promise<void> {
    const { serviceDn } = this.#plan;
    const { bindPassword = "" } = this.#secrets;
    const operation = "bind as the service account";
    const code = await this.#step(
      operation,
      (connection) =>
        serviceDn === undefined
          ? connection.bindAnonymously()
          : connection.bind(serviceDn, new TextEncoder().encode(bindPassword)),
    );
    if (code !== ResultCode.SUCCESS) this.#fail(operation, `result code ${code}`);
  }

  async #groupsOf({ username, dn }: Known, groups: NonNullable<LdapPlan["groups"]>): Promise<readonly string[]> {
    const filter = groups.filter.encode({ username, dn });
    const operation = "search for groups";
    const { code, entries } = await this.#step(
      operation,
      (connection) =>
        connection.search(this.#search(groups.base, "subtree", filter, [groups.attribute], LDAP_GROUPS_MAX)),
    );
    if (code !== ResultCode.SUCCESS) this.#fail(operation, `result code ${code}`);
    const names = new Set(entries.flatMap((entry) => entry.attributes.get(groups.attribute) ?? []));
    if (names.size > LDAP_GROUPS_MAX) this.#fail(operation, `a client is in more than ${LDAP_GROUPS_MAX} groups`);
    return [...names];
  }

  #search(
    base: string,
    scope: "base" | "subtree",
    filter: Uint8Array,
    attributes: readonly string[],
    entriesMax: number,
  ) {
    return { base, scope, filter, attributes, entriesMax, timeLimitSeconds: Math.ceil(this.#plan.timeoutMs / 1000) };
  }

  #step<A>(operation: string, run: (connection: LdapConnection) => Promise<A>): Promise<A> {
    return attempt(this.#plan, operation, this.#signal, () => run(this.#connection));
  }

  #fail(operation: string, detail: string): never {
    throw new BackendUnavailable({ backend: "ldap", operation, detail });
  }
}

/** Runs one step; whatever goes wrong in it is the directory's, or the network's on the way to it. */
async function attempt<A>(
  plan: LdapPlan,
  operation: string,
  signal: AbortSignal,
  run: () => Promise<A>,
): Promise<A> {
  try {
    return await run();
  } catch (cause) {
    const detail = signal.aborted ? `no answer within ${plan.timeoutMs} ms` : failureText(cause);
    throw new BackendUnavailable({ backend: "ldap", operation, detail, cause });
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
