/**
 * The server's side of SCRAM-SHA-256: client and server prove to each other that they know the password, and neither it
 * nor anything that could be used in its place goes over the wire. [RFC 5802, RFC 7677; MQTT 5.0, 4.12]
 *
 *   CONNECT  client-first ─▶ AUTH server-first ─▶ AUTH client-final ─▶ CONNACK server-final
 *
 * Names are looked up as they are in the message, byte by byte, as those of CONNECT are. For a name that SCRAM cannot
 * serve, unknown or kept with another kind of hash, the exchange goes on with a salt made from the name and a secret of
 * this process, and with the iterations and lengths of a user that exists; it ends like one with a wrong password. The
 * secret is new with every start: whoever asks for the same name before and after a restart can tell a made-up salt
 * from a stored one.
 *
 * There are no passwords to hash here, so nothing waits. Every failure is 0x87.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { ReasonCode } from "../../protocol/reason_codes.ts";
import type { Conversation, EnhancedAuthenticator, ExchangeStep } from "../identity/enhanced_authentication.ts";
import type { ScramVerifier } from "./password_hash.ts";
import { hmacSha256, SCRAM_ITERATIONS, sha256 } from "./password_hasher.ts";
import { identityOf } from "./password_provider.ts";
import type { PasswordUsers, ScramUser } from "./password_users.ts";
import {
  type ClientFirst,
  formatServerFinal,
  formatServerFirst,
  parseClientFinal,
  parseClientFirst,
  ScramProblem,
} from "./scram_messages.ts";

/** Authentication Method as in CONNECT. */
export const SCRAM_METHOD = "SCRAM-SHA-256";

/** SCRAM-SHA-256 for the users of a password file. */
export class ScramAuthenticator implements EnhancedAuthenticator {
  readonly method = SCRAM_METHOD;
  readonly #users: PasswordUsers;
  readonly #makeNonce: () => string;
  readonly #secret = randomBytes(32);

  /** @param makeNonce The server's part of a nonce: printable ASCII without comma, never the same twice. */
  constructor(users: PasswordUsers, makeNonce: () => string = randomNonce) {
    this.#users = users;
    this.#makeNonce = makeNonce;
  }

  /** See `EnhancedAuthenticator`. */
  begin(_clientId: string): Conversation {
    return new ScramConversation(this.#users, this.#makeNonce, (username) => this.#mockVerifier(username));
  }

  /** What is shown of a user that SCRAM cannot serve: the same for the same name, as with one that exists. */
  #mockVerifier(username: string): ScramVerifier {
    const model = this.#users.scramUserLike(username)?.verifier;
    const digest = (use: string) => hmacSha256(this.#secret, `${use}:${username}`);
    const salt = new Uint8Array(64);
    salt.set(digest("salt"));
    salt.set(digest("more salt"), 32);
    return {
      kind: "scram-sha-256",
      iterations: model?.iterations ?? SCRAM_ITERATIONS,
      salt: salt.subarray(0, model?.salt.length ?? MOCK_SALT_BYTES),
      storedKey: digest("stored key"),
      serverKey: digest("server key"),
    };
  }
}

/** What an exchange knows after its first message. */
interface Challenge {
  readonly clientFirst: ClientFirst;
  /** Undefined when it can only fail. */
  readonly user: ScramUser | undefined;
  readonly verifier: ScramVerifier;
  readonly nonce: string;
  readonly serverFirst: string;
}

class ScramConversation implements Conversation {
  readonly #users: PasswordUsers;
  readonly #makeNonce: () => string;
  readonly #mockVerifier: (username: string) => ScramVerifier;
  #challenge: Challenge | undefined = undefined;

  constructor(users: PasswordUsers, makeNonce: () => string, mockVerifier: (username: string) => ScramVerifier) {
    this.#users = users;
    this.#makeNonce = makeNonce;
    this.#mockVerifier = mockVerifier;
  }

  next(data: Uint8Array | undefined): ExchangeStep {
    return this.#challenge === undefined ? this.#begin(data) : this.#finish(this.#challenge, data);
  }

  #begin(data: Uint8Array | undefined): ExchangeStep {
    const clientFirst = parseClientFirst(data);
    if (clientFirst instanceof ScramProblem) return failure(clientFirst.reason);
    const user = this.#users.scramUser(clientFirst.username);
    // Computed for known users too, so that both take the same time.
    const mock = this.#mockVerifier(clientFirst.username);
    const verifier = user?.verifier ?? mock;
    const nonce = clientFirst.nonce + this.#makeNonce();
    const serverFirst = formatServerFirst(nonce, verifier.salt, verifier.iterations);
    this.#challenge = { clientFirst, user, verifier, nonce, serverFirst };
    return { kind: "continue", data: new TextEncoder().encode(serverFirst) };
  }

  #finish({ clientFirst, user, verifier, nonce, serverFirst }: Challenge, data: Uint8Array | undefined): ExchangeStep {
    const clientFinal = parseClientFinal(data, clientFirst.gs2Header, nonce);
    if (clientFinal instanceof ScramProblem) return failure(clientFinal.reason);
    const signed = `${clientFirst.bare},${serverFirst},${clientFinal.withoutProof}`;
    const clientSignature = hmacSha256(verifier.storedKey, signed);
    const clientKey = clientFinal.proof.map((byte, i) => byte ^ clientSignature[i]!);
    const isRight = timingSafeEqual(sha256(clientKey), verifier.storedKey);
    // The file may have changed since the first message.
    if (!isRight || user === undefined || !this.#users.isCurrent(user.entry)) return failure("bad_password");
    const signature = hmacSha256(verifier.serverKey, signed);
    return {
      kind: "success",
      data: new TextEncoder().encode(formatServerFinal(signature)),
      identity: identityOf(user.entry),
    };
  }
}

function failure(reason: string): ExchangeStep {
  return { kind: "failure", reasonCode: ReasonCode.NOT_AUTHORIZED, reason };
}

/** 144 bits as text. */
function randomNonce(): string {
  return randomBytes(18).toString("base64");
}

/** As `promptmq user add` makes them. */
const MOCK_SALT_BYTES = 16;
