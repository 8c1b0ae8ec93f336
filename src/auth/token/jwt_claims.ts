/**
 * From the claims of a token to an identity. The signature has been verified; here the claims are held against the
 * configuration and the time. [RFC 7519, 4.1]
 *
 * A claim that is there and cannot be meant refuses the token, also one that is not required: the issuer wanted to say
 * something, and to leave it out could give the client more than that. A token without an audience configured is
 * accepted for any audience.
 */
import { rulesFromJson } from "../acl/rule_json.ts";
import type { AccessRule } from "../identity/access_rule.ts";
import type { Identity } from "../identity/identity.ts";
import { isUsername } from "../identity/username.ts";

/** What is expected of claims. */
export interface ClaimSettings {
  /** `iss` must be this; undefined = any. */
  readonly issuer?: string | undefined;
  /** `aud` must be this or contain it; undefined = any. */
  readonly audience?: string | undefined;
  /** Top-level claim with the username: a string. */
  readonly usernameClaim: string;
  /** Top-level claim with the groups: a list of strings, or one string with spaces between; may be missing. */
  readonly groupsClaim: string;
  /** Top-level claim with permission rules, in either form of `rule_json.ts`; may be missing. */
  readonly aclClaim: string;
  /** How far the clocks of issuer and broker may be apart. */
  readonly leewaySeconds: number;
  /** True = a token without `exp` is refused. */
  readonly requireExpiry: boolean;
}

/** Why claims are refused, for counter and log. */
export type ClaimRefusal =
  | "token_audience"
  | "token_claims"
  | "token_expired"
  | "token_issuer"
  | "token_not_yet_valid";

/** Groups of one client. */
export const TOKEN_GROUPS_MAX = 256;

/**
 * Reads an identity out of claims.
 *
 * @param payload What the token's signature covers, decoded: JSON in UTF-8.
 * @param nowMs Milliseconds since the epoch.
 * @returns The identity, which ends when the token expires, leeway included; or why there is none.
 */
export function identityFromClaims(
  payload: Uint8Array,
  settings: ClaimSettings,
  nowMs: number,
): Identity | ClaimRefusal {
  const claims = readClaims(payload);
  if (claims === undefined) return "token_claims";
  const refusal = checkParties(claims, settings) ?? checkTimes(claims, settings, nowMs);
  if (refusal !== undefined) return refusal;
  const username = claims.get(settings.usernameClaim);
  const groups = readGroups(claims.get(settings.groupsClaim));
  const rules = readRules(claims.get(settings.aclClaim));
  if (!isUsername(username) || groups === undefined || rules === "invalid") return "token_claims";
  return { username, groups, rules, expiresAtMs: readTimes(claims, settings)?.expiresAtMs };
}

/** A map, because a claim may be called like something that every object inherits. */
type Claims = ReadonlyMap<string, unknown>;

function readClaims(payload: Uint8Array): Claims | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    return new Map(Object.entries(value));
  } catch {
    return undefined;
  }
}

function checkParties(claims: Claims, { issuer, audience }: ClaimSettings): ClaimRefusal | undefined {
  if (issuer !== undefined && claims.get("iss") !== issuer) return "token_issuer";
  if (audience === undefined) return undefined;
  const given = claims.get("aud");
  return given === audience || (Array.isArray(given) && given.includes(audience)) ? undefined : "token_audience";
}

function checkTimes(claims: Claims, settings: ClaimSettings, nowMs: number): ClaimRefusal | undefined {
  const times = readTimes(claims, settings);
  if (times === undefined) return "token_claims";
  if (times.expiresAtMs === undefined && settings.requireExpiry) return "token_claims";
  if (times.beginsAtMs > nowMs) return "token_not_yet_valid";
  return times.expiresAtMs !== undefined && times.expiresAtMs <= nowMs ? "token_expired" : undefined;
}

/** The time in which a token holds, with leeway at both ends; undefined when a claim is no time. */
function readTimes(claims: Claims, { leewaySeconds }: ClaimSettings) {
  const [exp, nbf, iat] = ["exp", "nbf", "iat"].map((name) => claims.get(name));
  if (!isOptionalTime(exp) || !isOptionalTime(nbf) || !isOptionalTime(iat)) return undefined;
  return {
    expiresAtMs: exp === undefined ? undefined : Math.floor((exp + leewaySeconds) * 1000),
    // A token from the future was not issued yet, whatever it says of when it begins.
    beginsAtMs: (Math.max(nbf ?? -TIME_SECONDS_MAX, iat ?? -TIME_SECONDS_MAX) - leewaySeconds) * 1000,
  };
}

/** As far from the epoch as a Date reaches. */
const TIME_SECONDS_MAX = 8_640_000_000_000;

function isOptionalTime(value: unknown): value is number | undefined {
  return value === undefined || (typeof value === "number" && Math.abs(value) <= TIME_SECONDS_MAX);
}

function readGroups(value: unknown): readonly string[] | undefined {
  if (value === undefined) return [];
  const given: unknown = typeof value === "string" ? value.split(" ").filter((group) => group !== "") : value;
  return Array.isArray(given) && given.length <= TOKEN_GROUPS_MAX && given.every(isUsername) ? given : undefined;
}

function readRules(value: unknown): readonly AccessRule[] | undefined | "invalid" {
  return value === undefined ? undefined : rulesFromJson(value) ?? "invalid";
}
