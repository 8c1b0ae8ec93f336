/**
 * JSON Web Tokens as identities: a client gives a token as the password of its CONNECT. [RFC 7519]
 *
 * The issuer's signature is all that is needed; nobody is asked per client. The token says who the client is, so the
 * User Name of CONNECT may be left out or empty; one that is given and differs is refused. The identity ends with the
 * token.
 *
 *     password ── not a token ──▶ passed on
 *        │ algorithm that is allowed and has a key        else 0x86 token_algorithm, token_key_unknown
 *        │ signature                                      else 0x86 token_signature
 *        │ claims                                         else 0x86 token_issuer, token_expired, …
 *        ▼
 *     identity        Without keys, because their server is down: 0x88 jwt_unavailable.
 *
 * Keys in files are tried first, then those of the key server. All that a refused client learns is the Reason Code.
 */
import * as Clock from "effect/Clock";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Result from "effect/Result";
import { compactVerify, errors } from "jose";
import { Log, type LogWriter } from "../../logging/log.ts";
import { Supervisor } from "../../logging/supervisor.ts";
import { ReasonCode } from "../../protocol/reason_codes.ts";
import { monotonicMsOf } from "../../system/clock.ts";
import { followFiles, readWatchedFile, type WatchedFile } from "../../system/watched_file.ts";
import { AuthFileInvalid, type BackendUnavailable } from "../identity/errors.ts";
import { type Credentials, type IdentityProvider, refuse, type Verdict } from "../identity/identity.ts";
import type { Answer } from "../identity/questions.ts";
import { contradictsUsername } from "../identity/username.ts";
import { type ClaimSettings, identityFromClaims } from "./jwt_claims.ts";
import {
  canonicalAlgorithm,
  type KeySet,
  keysFor,
  parseKeyFile,
  parseSecretFile,
  PUBLIC_KEY_ALGORITHMS,
} from "./jwt_keys.ts";
import { RemoteKeys } from "./jwt_remote_keys.ts";
import { readToken, type Token } from "./jwt_token.ts";

/** What tokens are held against. Without any key every token is refused. */
export interface JwtSettings extends ClaimSettings {
  /** PEM public keys and certificates, or JSON Web Keys. Followed live. */
  readonly keyFile?: string | undefined;
  /** Secret of HS256, HS384 and HS512. Followed live. */
  readonly secretFile?: string | undefined;
  /** Address of a JSON Web Key Set; a valid URL. */
  readonly jwksUrl?: string | undefined;
  /** How long keys of the address are good without asking again. */
  readonly jwksCacheMs: number;
  /** Algorithms that are accepted; empty = those that fit the keys. */
  readonly algorithms: readonly string[];
  /** For one request to the address, in milliseconds. */
  readonly timeoutMs: number;
}

/** The provider `jwt`. */
export class Jwt extends Context.Service<Jwt, IdentityProvider>()("promptmq/auth/Jwt") {
  /** Fails when a file of keys cannot be read or used. The address is not asked before the first token. */
  static readonly layer = (settings: JwtSettings) =>
    Layer.effect(
      Jwt,
      Effect.gen(function* () {
        const log = yield* Log;
        const clock = yield* Clock.Clock;
        const files: KeyFile[] = [];
        if (settings.keyFile !== undefined) {
          const file = { path: settings.keyFile, purpose: "file of token keys" };
          files.push(yield* openKeyFile(file, (text) => parseKeyFile(file.path, text)));
        }
        if (settings.secretFile !== undefined) {
          const file = { path: settings.secretFile, purpose: "file with the token secret" };
          files.push(yield* openKeyFile(file, (text) => parseSecretFile(file.path, text, settings.algorithms)));
        }
        const { jwksUrl, jwksCacheMs: cacheMs, timeoutMs } = settings;
        const remote = jwksUrl === undefined
          ? undefined
          : new RemoteKeys({ url: new URL(jwksUrl), cacheMs, timeoutMs }, log, () => monotonicMsOf(clock));
        return Jwt.of(new TokenVerifier(settings, files, remote, log, () => clock.currentTimeMillisUnsafe()));
      }),
    );
}

/** A file and the keys that it last held. */
interface KeyFile {
  keys: KeySet;
}

/** Reads keys and follows their file. A version that cannot be used changes nothing, and the log says why. */
const openKeyFile = Effect.fnUntraced(
  function* (file: WatchedFile, parse: (text: string) => KeySet | AuthFileInvalid) {
    const log = yield* Log;
    const text = yield* readWatchedFile(file);
    const first = parse(text);
    if (first instanceof AuthFileInvalid) return yield* first;
    const opened: KeyFile = { keys: first };
    const keep = (error: Error) =>
      log.write("error", `cannot use the changed ${file.purpose}, the keys before are kept`, {
        path: file.path,
        error: error.message,
      });
    yield* Supervisor.fork(
      `watch of the ${file.purpose}`,
      followFiles([file], {
        changed: (texts) => {
          const keys = parse(texts[0]!);
          if (keys instanceof AuthFileInvalid) return keep(keys);
          opened.keys = keys;
          log.write("info", `read the changed ${file.purpose}`, { path: file.path, keys: keys.length });
        },
        failed: keep,
      }, [text]),
    );
    return opened;
  },
);

/** A payload whose signature is genuine, or why there is none. */
type Opened = Uint8Array | "token_key_unknown" | "token_malformed" | "token_signature";

class TokenVerifier implements IdentityProvider {
  readonly name = "jwt";
  readonly #settings: JwtSettings;
  readonly #files: readonly KeyFile[];
  readonly #remote: RemoteKeys | undefined;
  readonly #log: LogWriter;
  readonly #nowMs: () => number;

  constructor(
    settings: JwtSettings,
    files: readonly KeyFile[],
    remote: RemoteKeys | undefined,
    log: LogWriter,
    nowMs: () => number,
  ) {
    this.#settings = settings;
    this.#files = files;
    this.#remote = remote;
    this.#log = log;
    this.#nowMs = nowMs;
  }

  verify(credentials: Credentials): Answer<Verdict | undefined, BackendUnavailable> {
    if (credentials.password === undefined) return undefined;
    const token = readToken(credentials.password);
    if (token === undefined) return undefined;
    if (typeof token === "string") return refuseToken(token);
    return this.#isAllowed(token.algorithm) ? this.#decide(token, credentials) : refuseToken("token_algorithm");
  }

  readonly #decide = Effect.fnUntraced({ self: this }, function* (
    this: TokenVerifier,
    token: Token,
    credentials: Credentials,
  ) {
    const payload = yield* this.#open(token);
    if (typeof payload === "string") return refuseToken(payload);
    const identity = identityFromClaims(payload, this.#settings, this.#nowMs());
    if (typeof identity === "string") return refuseToken(identity);
    if (contradictsUsername(credentials, identity.username!)) return refuseToken("username_mismatch");
    return { kind: "accept", identity } as const;
  });

  #isAllowed(algorithm: string): boolean {
    const { algorithms } = this.#settings;
    const wanted = canonicalAlgorithm(algorithm);
    if (algorithms.length > 0 && !algorithms.some((name) => canonicalAlgorithm(name) === wanted)) return false;
    return this.#files.some(({ keys }) => keys.some((key) => key.algorithms.includes(algorithm))) ||
      (this.#remote !== undefined && PUBLIC_KEY_ALGORITHMS.has(algorithm));
  }

  readonly #open = Effect.fnUntraced({ self: this }, function* (this: TokenVerifier, token: Token) {
    const { algorithm, kid } = token;
    const opened = yield* this.#tryKeys(token, this.#files.flatMap(({ keys }) => keysFor(keys, algorithm, kid)));
    if (opened instanceof Uint8Array || opened === "token_malformed") return opened;
    // Shared secrets come from the file alone.
    if (this.#remote === undefined || !PUBLIC_KEY_ALGORITHMS.has(algorithm)) return opened;
    const keys = yield* this.#remote.find(algorithm, kid);
    return keys.length === 0 ? opened : yield* this.#tryKeys(token, keys);
  });

  /** Tries keys in turn; a token without `kid` may fit several. */
  #tryKeys({ text, algorithm }: Token, keys: KeySet): Effect.Effect<Opened> {
    return Effect.gen({ self: this }, function* () {
      for (const { material } of keys) {
        const opened = yield* Effect.result(Effect.tryPromise({
          try: () => compactVerify(text, material, { algorithms: [algorithm] }),
          catch: (cause) => cause,
        }));
        if (Result.isSuccess(opened)) return opened.success.payload;
        const { failure } = opened;
        if (failure instanceof errors.JWSSignatureVerificationFailed) continue;
        if (failure instanceof errors.JOSEError) return "token_malformed";
        // Only the name: the words could repeat a part of the token.
        const error = failure instanceof Error ? failure.name : "unknown";
        this.#log.limited("jwt-verify", "error", "a token key could not be used", { error });
      }
      return keys.length === 0 ? "token_key_unknown" : "token_signature";
    });
  }
}

/** Of a token that is not good. */
function refuseToken(reason: string): Verdict {
  return refuse(ReasonCode.BAD_USER_NAME_OR_PASSWORD, reason);
}
