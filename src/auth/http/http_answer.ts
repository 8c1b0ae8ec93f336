/**
 * What a server says of a client, as JSON:
 *
 *     {"result": "allow", "username": "alice", "groups": ["ops"], "acl": […], "expiresAt": 1790000000}
 *     {"result": "deny"}
 *     {"result": "ignore"}
 *
 * All but `result` may be missing. `acl` is one of the forms of `rule_json.ts`, `expiresAt` seconds since the epoch.
 * Members that are not known are left out of account; one that is known and wrong spoils the answer, because leaving it
 * out could let a client do more than was meant.
 */
import { rulesFromJson } from "../acl/rule_json.ts";
import type { AccessRule } from "../identity/access_rule.ts";
import type { Identity } from "../identity/identity.ts";
import { isUsername } from "../identity/username.ts";

/** Groups of one client. */
export const HTTP_GROUPS_MAX = 1000;

/** An answer that makes sense. */
export type HttpVerdict =
  | { readonly kind: "allow"; readonly identity: Identity }
  | { readonly kind: "deny" | "ignore" };

/**
 * Reads an answer.
 *
 * @param claimed Name that the client gave; the answer may say another one.
 * @returns What is wrong, as a sentence without content of the answer, when it makes no sense.
 */
export function readVerdict(value: unknown, claimed: string | undefined): HttpVerdict | string {
  if (!isRecord(value)) return "the answer is no object";
  const { result, username, groups = [], acl, expiresAt } = value;
  if (result === "deny" || result === "ignore") return { kind: result };
  if (result !== "allow") return "the answer says neither allow nor deny nor ignore";
  if (username !== undefined && !isUsername(username)) return "the answer's username is none";
  if (!isGroups(groups)) return "the answer's groups are no list of names, or too many";
  const rules = acl === undefined ? undefined : rulesFromJson(acl);
  if (acl !== undefined && rules === undefined) return "the answer's acl is no list of rules";
  if (expiresAt !== undefined && !isTime(expiresAt)) return "the answer's expiresAt is no time in seconds";
  const expiresAtMs = expiresAt === undefined ? undefined : expiresAt * 1000;
  // An empty User Name names nobody.
  const name = username ?? (claimed === "" ? undefined : claimed);
  return { kind: "allow", identity: { username: name, groups, rules, expiresAtMs } };
}

/**
 * Reads `{"rules": …}`.
 *
 * @returns What is wrong, as a sentence, when it makes no sense.
 */
export function readRules(value: unknown): readonly AccessRule[] | string {
  if (!isRecord(value)) return "the answer is no object";
  return rulesFromJson(value["rules"]) ?? "the answer's rules are no list of rules";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A group is compared with names of rules; what no username may contain helps no group either. */
function isGroups(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length <= HTTP_GROUPS_MAX && value.every(isUsername);
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER / 1000;
}
