/**
 * What an operator says about a directory, checked and taken apart before the first client comes.
 */
import { type FilterTemplate, nameAttributeOfDn, parseFilter } from "./ldap_filter.ts";
import type { LdapTarget } from "./ldap_connection.ts";

/** How to ask a directory. */
export interface LdapSettings {
  /** `ldap://host:389` or `ldaps://host:636`; the port may be missing. */
  readonly url: string;
  /** TLS on an `ldap://` connection, before anything else is said. */
  readonly startTls: boolean;
  /** Certificates in PEM that are trusted beside the runtime's own; undefined = only these. */
  readonly caFile?: string | undefined;
  /** Service account that searches; undefined = nobody in particular searches. */
  readonly bindDn?: string | undefined;
  readonly bindPasswordFile?: string | undefined;
  /** Direct bind: Distinguished Name of every client, with `{username}`. Either this or `searchBase`. */
  readonly userDn?: string | undefined;
  /** Search, then bind: where clients are. */
  readonly searchBase?: string | undefined;
  /** With `{username}`; used with `searchBase`. */
  readonly searchFilter: string;
  /** Where groups are; undefined = no groups. */
  readonly groupBase?: string | undefined;
  /** With `{dn}`, `{username}`, or both. */
  readonly groupFilter: string;
  /** Attribute of a group that is its name. */
  readonly groupAttribute: string;
  /** For one client, from the first byte to the last, in milliseconds. */
  readonly timeoutMs: number;
  /** Conversations at once. */
  readonly connections: number;
}

/** Where a name is looked for. */
export type UserPlan =
  | { readonly kind: "direct"; readonly dn: string; readonly nameAttribute: string | undefined }
  | { readonly kind: "search"; readonly base: string; readonly filter: FilterTemplate };

/** Settings that make sense. */
export interface LdapPlan {
  readonly target: Omit<LdapTarget, "ca">;
  readonly user: UserPlan;
  readonly groups: { readonly base: string; readonly filter: FilterTemplate; readonly attribute: string } | undefined;
  readonly serviceDn: string | undefined;
  readonly timeoutMs: number;
}

/** Reads the settings; all problems at once when there are any. */
export function planLdap(settings: LdapSettings): LdapPlan | readonly string[] {
  const problems: string[] = [];
  const target = readTarget(settings, problems);
  const user = readUser(settings, problems);
  const groups = readGroups(settings, problems);
  const { bindDn, bindPasswordFile, caFile, timeoutMs, connections } = settings;
  if ((bindDn === undefined) !== (bindPasswordFile === undefined)) {
    problems.push("a service account needs both its name and a file with its password");
  }
  if (bindDn === "") problems.push("the name of the service account is empty");
  if (caFile !== undefined && target?.security === "plain") {
    problems.push("certificates to trust are given, but neither ldaps:// nor StartTLS is");
  }
  if (!(timeoutMs > 0)) problems.push("the timeout is not above 0");
  if (!(connections >= 1)) problems.push("the number of connections is not above 0");
  if (target === undefined || user === undefined || problems.length > 0) return problems;
  return { target, user, groups, serviceDn: bindDn, timeoutMs };
}

const PORTS: Readonly<Record<string, number>> = { "ldap:": 389, "ldaps:": 636 };

function readTarget({ url, startTls }: LdapSettings, problems: string[]): LdapPlan["target"] | undefined {
  const parsed = URL.parse(url);
  const port = parsed === null ? undefined : PORTS[parsed.protocol];
  if (parsed === null || port === undefined || parsed.hostname === "") {
    problems.push("the address is not of the form ldap://host:port or ldaps://host:port");
    return undefined;
  }
  const { protocol, username, password, pathname, search, hash } = parsed;
  if (username + password + search + hash !== "" || (pathname !== "" && pathname !== "/")) {
    problems.push("the address has more than a host and a port");
  }
  if (startTls && protocol === "ldaps:") problems.push("StartTLS is for ldap://, and ldaps:// has TLS already");
  return {
    hostname: parsed.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: parsed.port === "" ? port : Number(parsed.port),
    security: protocol === "ldaps:" ? "tls" : startTls ? "starttls" : "plain",
  };
}

function readUser({ userDn, searchBase, searchFilter }: LdapSettings, problems: string[]): UserPlan | undefined {
  if ((userDn === undefined) === (searchBase === undefined)) {
    problems.push("either a template of the clients' Distinguished Name or a base to search is needed, and not both");
    return undefined;
  }
  if (userDn !== undefined) {
    if (!userDn.includes("{username}")) problems.push("the template of the Distinguished Name lacks {username}");
    return { kind: "direct", dn: userDn, nameAttribute: nameAttributeOfDn(userDn) };
  }
  const filter = readFilter("search filter", searchFilter, ["{username}"], problems);
  return filter && { kind: "search", base: searchBase!, filter };
}

function readGroups(settings: LdapSettings, problems: string[]): LdapPlan["groups"] {
  const { groupBase, groupFilter, groupAttribute } = settings;
  if (groupBase === undefined) return undefined;
  if (!/^[A-Za-z0-9][A-Za-z0-9.;-]*$/.test(groupAttribute)) problems.push("the group attribute is no attribute name");
  const filter = readFilter("group filter", groupFilter, ["{dn}", "{username}"], problems);
  return filter && { base: groupBase, filter, attribute: groupAttribute.toLowerCase() };
}

function readFilter(
  what: string,
  source: string,
  placeholders: readonly string[],
  problems: string[],
): FilterTemplate | undefined {
  const filter = parseFilter(source);
  if (typeof filter === "string") {
    problems.push(`the ${what} is wrong: ${filter}`);
    return undefined;
  }
  if (!placeholders.some((placeholder) => source.includes(placeholder))) {
    problems.push(`the ${what} lacks ${placeholders.join(" or ")}`);
  }
  return filter;
}
