/**
 * Plain usernames and passwords, as in CONNECT, against the users of a password file.
 *
 * | username | password | verdict                                                       |
 * | -------- | -------- | ------------------------------------------------------------- |
 * | none, "" | any      | passed on                                                     |
 * | unknown  | none     | passed on                                                     |
 * | unknown  | any      | passed on, after as much work as for a known one              |
 * | known    | none     | refused 0x86                                                  |
 * | known    | wrong    | refused 0x86                                                  |
 * | known    | right    | accepted, with the groups of the file                         |
 *
 * While too many hashes wait every question that needs one is refused with 0x89, about unknown names too.
 */
import * as Effect from "effect/Effect";
import { ReasonCode } from "../../protocol/reason_codes.ts";
import { type Credentials, type IdentityProvider, refuse, type Verdict } from "../identity/identity.ts";
import type { PasswordEntry } from "./password_entries.ts";
import type { CheckOutcome, PasswordUsers } from "./password_users.ts";

/** Name of the provider in `auth.chain`. */
export const PASSWORD_FILE_PROVIDER = "password-file";

/** See the head of this file. */
export function makePasswordProvider(users: PasswordUsers): IdentityProvider {
  return {
    name: PASSWORD_FILE_PROVIDER,
    verify: ({ username, password }: Credentials) => {
      // MQTT 3.1.1 allows a password only with a name, so an empty one stands for none. [MQTT-3.1.2-22]
      if (username === undefined || username === "") return undefined;
      // Hashes pad with zero bytes, so one at the end would make no difference. [RFC 2104, 2]
      if (password === undefined || password.includes(0)) return users.has(username) ? BAD_PASSWORD : undefined;
      const outcome = users.check(username, password);
      return Effect.isEffect(outcome) ? Effect.map(outcome, verdictOf) : verdictOf(outcome);
    },
  };
}

/** The identity of a user of the file. */
export function identityOf({ username, groups }: PasswordEntry) {
  return { username, groups, rules: undefined, expiresAtMs: undefined };
}

function verdictOf(outcome: CheckOutcome): Verdict | undefined {
  if (outcome === "unknown") return undefined;
  return outcome === "wrong" ? BAD_PASSWORD : { kind: "accept", identity: identityOf(outcome) };
}

const BAD_PASSWORD = refuse(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad_password");
