/**
 * Whom a rule of the file is about.
 *
 * `users`, `groups` and `clients` are conditions that must all hold, each by one of its names. Anonymous clients choose
 * their Client Identifier as they like, so they are among those of a rule only when it names nobody at all, or says
 * `anonymous: true`:
 *
 *     names given       | anonymous: true                 | false         | not given
 *     ------------------|---------------------------------|---------------|---------------------
 *     none              | anonymous clients only          | all the named | everybody
 *     users or groups   | those, and anonymous clients    | those         | those
 *     clients only      | anonymous clients with such an  | named ones    | named ones with such
 *                       | identifier only                 | with such     | an identifier
 *
 * Names are compared by case and code unit. `*` in a name stands for any characters, also none.
 */

/** Names of one list, ready to be asked. */
export class NameSet {
  readonly #exact = new Set<string>();
  readonly #patterns: (readonly string[])[] = [];

  /** @param names Literal, or with `*`. */
  constructor(names: readonly string[]) {
    for (const name of names) {
      if (name.includes("*")) this.#patterns.push(name.split("*"));
      else this.#exact.add(name);
    }
  }

  /** True when the name is in the list. O(patterns × length of the name). */
  has(name: string): boolean {
    return this.#exact.has(name) || this.#patterns.some((parts) => matchesParts(parts, name));
  }
}

/** Conditions of a rule as written; an absent list is no condition. */
export interface AudienceTerms {
  readonly users?: readonly string[];
  /** Compared as they are: `*` means nothing here. */
  readonly groups?: readonly string[];
  readonly clients?: readonly string[];
  readonly anonymous?: boolean;
}

/** What the conditions are about. */
export interface AudienceMember {
  /** Undefined for an anonymous client. */
  readonly username: string | undefined;
  readonly clientId: string;
  /** Of the identity and of the file. */
  readonly groups: ReadonlySet<string>;
}

/** See the head of this file. */
export class Audience {
  readonly #users: NameSet | undefined;
  readonly #groups: readonly string[] | undefined;
  readonly #clients: NameSet | undefined;
  readonly #hasNamed: boolean;
  readonly #hasAnonymous: boolean;

  constructor({ users, groups, clients, anonymous }: AudienceTerms) {
    this.#users = users && new NameSet(users);
    this.#groups = groups;
    this.#clients = clients && new NameSet(clients);
    this.#hasNamed = anonymous !== true || users !== undefined || groups !== undefined;
    this.#hasAnonymous = anonymous ?? (users === undefined && groups === undefined && clients === undefined);
  }

  /** True when the rules for this audience are rules for that client. */
  includes({ username, clientId, groups }: AudienceMember): boolean {
    if (this.#clients !== undefined && !this.#clients.has(clientId)) return false;
    if (username === undefined) return this.#hasAnonymous;
    if (!this.#hasNamed) return false;
    if (this.#users !== undefined && !this.#users.has(username)) return false;
    return this.#groups === undefined || this.#groups.some((group) => groups.has(group));
  }
}

/** Finds each part behind the one before; the first is a prefix and the last a suffix. Linear but for its searches. */
function matchesParts(parts: readonly string[], name: string): boolean {
  const first = parts[0]!;
  const last = parts[parts.length - 1]!;
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false;
  let at = first.length;
  const end = name.length - last.length;
  for (let index = 1; index < parts.length - 1; index++) {
    const part = parts[index]!;
    const found = name.indexOf(part, at);
    if (found === -1 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
