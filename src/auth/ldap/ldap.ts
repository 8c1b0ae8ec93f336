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
import { Log, type LogWriter } from "../../logging/log.ts";
import { ReasonCode } from "../../protocol/reason_codes.ts";
import { followValue, isLoopbackHost, parseSecretLine } from "../backend/followed_value.ts";
import { WaitingLine } from "../backend/waiting_line.ts";
import { BackendSettingsInvalid, BackendUnavailable } from "../identity/errors.ts";
import type { Credentials, IdentityProvider, Verdict } from "../identity/identity.ts";
import { askDirectory, type LdapOutcome, type LdapSecrets } from "./ldap_conversation.ts";
import { type LdapPlan, type LdapSettings, planLdap } from "./ldap_settings.ts";

/** The identity provider `ldap`. */
export class Ldap extends Context.Service<Ldap, IdentityProvider>()("promptmq/auth/Ldap") {
  /**
   * Fails when the settings make no sense or a file cannot be used; does not connect. Files are followed. Conversations
   * that are under way when the scope closes are cut off and end as unavailable.
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
        const secrets = () => ({ ca: ca(), bindPassword: bindPassword() });
        const directory = new Directory(plan, settings.connections, secrets, log);
        yield* Effect.addFinalizer(() => Effect.promise(() => directory.close()));
        return Ldap.of({ name: "ldap", verify: (credentials) => directory.verify(credentials) });
      }),
    );
}

/** CONNECT packets that wait for a conversation; more are told that the broker is busy. */
export const LDAP_WAITING_MAX = 1000;

class Directory {
  readonly #plan: LdapPlan;
  readonly #secrets: () => LdapSecrets;
  readonly #log: LogWriter;
  readonly #line: WaitingLine;
  /** At most `connections`. */
  readonly #underWay = new Map<AbortController, Promise<unknown>>();

  constructor(plan: LdapPlan, connections: number, secrets: () => LdapSecrets, log: LogWriter) {
    this.#plan = plan;
    this.#secrets = secrets;
    this.#log = log;
    this.#line = new WaitingLine(connections, LDAP_WAITING_MAX);
  }

  verify({ username, password }: Credentials): Verdict | undefined | Promise<Verdict | undefined> {
    if (username === undefined || username === "" || password === undefined) return undefined;
    if (password.length === 0 || password.includes(0)) return BAD_PASSWORD;
    return this.#verifyInTurn(username, password);
  }

  async close(): Promise<void> {
    this.#line.close();
    for (const controller of this.#underWay.keys()) controller.abort();
    await Promise.allSettled(this.#underWay.values());
  }

  async #verifyInTurn(username: string, password: Uint8Array): Promise<Verdict | undefined> {
    if (!await this.#line.enter(this.#plan.timeoutMs)) return BUSY;
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), this.#plan.timeoutMs);
    const asking = askDirectory(this.#plan, this.#secrets(), username, password, controller.signal);
    this.#underWay.set(controller, asking);
    try {
      return verdictOf(await asking);
    } catch (error) {
      if (!(error instanceof BackendUnavailable)) throw error;
      this.#log.limited("ldap_unavailable", "warn", "identity backend unavailable", {
        backend: error.backend,
        error: error.message,
      });
      return UNAVAILABLE;
    } finally {
      clearTimeout(timer);
      this.#underWay.delete(controller);
      this.#line.leave();
    }
  }
}

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

function refuse(reasonCode: number, reason: string): Verdict {
  return { kind: "refuse", reasonCode, reason };
}

const BAD_PASSWORD = refuse(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad_password");
const UNAVAILABLE = refuse(ReasonCode.SERVER_UNAVAILABLE, "ldap_unavailable");
const BUSY = refuse(ReasonCode.SERVER_BUSY, "ldap_busy");

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
