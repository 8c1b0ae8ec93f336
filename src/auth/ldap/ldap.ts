/**
 * Identities from a directory, over LDAP version 3.
 *
 * A client is let in when the directory lets it bind with its name and password; `ldap_conversation.ts` has the steps.
 * What the directory says is taken for what it says, and everything else closes the door:
 *
 * | what happened                                                          | verdict | reason              |
 * | ---------------------------------------------------------------------- | ------- | ------------------- |
 * | no name or no password                                                 | pass    |                     |
 * | no entry (search)                                                      | pass    |                     |
 * | empty password, or one with a zero byte                                | 0x86    | `bad_password`      |
 * | wrong password; no entry (direct bind)                                 | 0x86    | `bad_password`      |
 * | name not spelled like any of the entry's                               | 0x86    | `username_mismatch` |
 * | more than one entry                                                    | 0x87    | `ldap_ambiguous`    |
 * | account locked, disabled or without the right                          | 0x87    | `ldap_account`      |
 * | directory down, slow, not trusted, or refuses the service account      | 0x88    | `ldap_unavailable`  |
 * | more clients than can be asked about                                   | 0x89    | `ldap_busy`         |
 *
 * An empty password never goes out: a server takes it for nobody in particular and says success. [RFC 4513, 5.1.2]
 * With a zero byte in it, a server that counts in C would take it for empty or for its beginning.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { X509Certificate } from "node:crypto";
import { Log } from "../../logging/log.ts";
import { ReasonCode } from "../../protocol/reason_codes.ts";
import { tellUnavailable } from "../backend/failure_text.ts";
import { followValue, isLoopbackHost, parseSecretLine } from "../backend/followed_value.ts";
import { makeWaitingLine } from "../backend/waiting_line.ts";
import { BackendSettingsInvalid } from "../identity/errors.ts";
import { type IdentityProvider, refuse, type Verdict } from "../identity/identity.ts";
import { askDirectory, type LdapOutcome } from "./ldap_conversation.ts";
import { type LdapSettings, planLdap } from "./ldap_settings.ts";

/** The identity provider `ldap`. */
export class Ldap extends Context.Service<Ldap, IdentityProvider>()("promptmq/auth/Ldap") {
  /**
   * Fails when the settings make no sense or a file cannot be used; does not connect. Files are followed.
   */
  static readonly layer = (settings: LdapSettings) =>
    Layer.effect(
      Ldap,
      Effect.gen(function* () {
        const log = yield* Log;
        const plan = planLdap(settings);
        if (!("target" in plan)) return yield* new BackendSettingsInvalid({ backend: "ldap", problems: plan });
        const { caFile, bindPasswordFile } = settings;
        const ca = yield* followValue(
          caFile === undefined ? undefined : { path: caFile, purpose: "LDAP CA file", parse: parseCertificates },
          log,
        );
        const bindPassword = yield* followValue(
          bindPasswordFile === undefined
            ? undefined
            : { path: bindPasswordFile, purpose: "LDAP password file", parse: parseSecretLine },
          log,
        );
        if (plan.target.security === "plain" && !isLoopbackHost(plan.target.hostname)) {
          log.write("warn", "credentials go to the backend in the clear", {
            backend: "ldap",
            host: plan.target.hostname,
          });
        }
        const { timeoutMs: waitMs } = plan;
        const { connections: atWorkMax } = settings;
        const line = makeWaitingLine({ backend: "ldap", atWorkMax, waitingMax: LDAP_WAITING_MAX, waitMs });
        return Ldap.of({
          name: "ldap",
          verify: ({ username, password }) => {
            if (username === undefined || username === "" || password === undefined) return undefined;
            if (password.length === 0 || password.includes(0)) return BAD_PASSWORD;
            const asking = Effect.suspend(() => {
              const secrets = { ca: ca(), bindPassword: bindPassword() };
              return askDirectory(plan, secrets, username, password);
            });
            return line(asking).pipe(tellUnavailable(log), Effect.map(verdictOf));
          },
        });
      }),
    );
}

/** CONNECT packets that wait for a conversation; more are told that the broker is busy. */
export const LDAP_WAITING_MAX = 1000;

function verdictOf(outcome: LdapOutcome): Verdict | undefined {
  switch (outcome.kind) {
    case "known": {
      const { username, groups } = outcome;
      return { kind: "accept", identity: { username, groups, rules: undefined, expiresAtMs: undefined } };
    }
    case "unknown":
      return undefined;
    case "wrong_password":
      return BAD_PASSWORD;
    case "other_name":
      return refuse(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "username_mismatch");
    case "ambiguous":
      return refuse(ReasonCode.NOT_AUTHORIZED, "ldap_ambiguous");
    case "account":
      return refuse(ReasonCode.NOT_AUTHORIZED, "ldap_account");
  }
}

const BAD_PASSWORD = refuse(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad_password");

/** Every block must be a certificate, or a mistake in the file would show as a directory that is not trusted. */
function parseCertificates(text: string): { readonly value: string } | { readonly problem: string } {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) return { problem: "has no certificate in PEM" };
  for (const [index, block] of blocks.entries()) {
    try {
      new X509Certificate(block);
    } catch {
      return { problem: `its certificate number ${index + 1} cannot be read` };
    }
  }
  return { value: blocks.join("\n") };
}
