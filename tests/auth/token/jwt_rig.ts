/**
 * What tests of tokens share: keys and tokens made on the spot, a server for key sets, and the provider over a clock
 * that the test moves.
 */
import { exportJWK, exportSPKI, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";
import type { Credentials, IdentityProvider, Verdict } from "../../../src/auth/identity/identity.ts";
import { Jwt, type JwtSettings } from "../../../src/auth/token/jwt.ts";
import { describeVerdict, type LogLine, openRig, START_MS, verdictOf } from "../backend_rig.ts";

/** When tests begin, in seconds since the epoch. */
export const NOW_SECONDS = START_MS / 1000;

/** Claims of a token that is good for a minute. */
export const CLAIMS: JWTPayload = { sub: "gateway-7", iat: NOW_SECONDS, exp: NOW_SECONDS + 60 };

/** An issuer with one key. */
export interface Issuer {
  readonly pem: string;
  readonly jwk: JWK;
  /** @param header Replaces or adds parameters of the header. */
  sign(claims?: JWTPayload, header?: Record<string, unknown>): Promise<string>;
}

/** Makes an issuer. @param kid Goes into tokens and into the key; undefined = neither. */
export async function makeIssuer(algorithm: string, kid?: string): Promise<Issuer> {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
  const name = kid === undefined ? {} : { kid };
  return {
    pem: await exportSPKI(publicKey),
    jwk: { ...(await exportJWK(publicKey)), ...name },
    sign: (claims = CLAIMS, header = {}) =>
      new SignJWT(claims).setProtectedHeader({ alg: algorithm, ...name, ...header }).sign(privateKey),
  };
}

/** Signs with a shared secret. */
export function signWithSecret(secret: string, algorithm = "HS256", claims: JWTPayload = CLAIMS): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: algorithm }).sign(new TextEncoder().encode(secret));
}

/** Text, or a value as JSON, as a part of a token. */
export function tokenPart(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return new TextEncoder().encode(text).toBase64({ alphabet: "base64url", omitPadding: true });
}

/** Settings that expect nothing beyond a username and an end. */
export function settingsWith(changes: Partial<JwtSettings>): JwtSettings {
  return {
    jwksCacheMs: 600_000,
    algorithms: [],
    usernameClaim: "sub",
    groupsClaim: "groups",
    aclClaim: "acl",
    leewaySeconds: 5,
    requireExpiry: true,
    timeoutMs: 60_000,
    ...changes,
  };
}

/** Credentials of a client that shows a token, or nothing. */
export function credentialsWith(changes: Partial<Credentials>): Credentials {
  return {
    clientId: "c",
    username: undefined,
    password: undefined,
    isLoopback: false,
    remoteAddress: "192.0.2.1",
    certificate: undefined,
    anonymous: undefined,
    ...changes,
  };
}

/** The provider under test. */
export interface JwtRig extends AsyncDisposable {
  readonly provider: IdentityProvider;
  readonly log: readonly LogLine[];
  /** Asks about a token; `accept` with its username, or `refuse` with code and reason, in one string. */
  ask(token: string, username?: string): Promise<string>;
  /** The same with the whole answer. */
  verdict(token: string, username?: string): Promise<Verdict | undefined>;
  /** Moves the clock. Two steps of `WATCH_INTERVAL_MS` are enough for a file that has changed. */
  adjust(durationMs: number): Promise<void>;
}

/** Builds the provider; rejects with the failure of its layer. */
export async function openJwt(changes: Partial<JwtSettings>): Promise<JwtRig> {
  const rig = await openRig(Jwt, Jwt.layer(settingsWith(changes)));
  const verdict = (token: string, username?: string) =>
    verdictOf(rig.service, rig.ask, credentialsWith({ username, password: new TextEncoder().encode(token) }));
  return {
    provider: rig.service,
    log: rig.log,
    verdict,
    ask: async (token, username) => describeVerdict(await verdict(token, username)),
    adjust: rig.adjust,
    [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose](),
  };
}

/** A file of the test, removed with it. */
export interface TemporaryFile extends Disposable {
  readonly path: string;
  write(text: string): void;
}

/** Writes a file. */
export function temporaryFile(text: string): TemporaryFile {
  const path = Deno.makeTempFileSync();
  const write = (content: string) => Deno.writeTextFileSync(path, content);
  write(text);
  return { path, write, [Symbol.dispose]: () => Deno.removeSync(path) };
}

/** A key server whose answers the test chooses. */
export interface KeyServer extends AsyncDisposable {
  readonly url: string;
  /** Requests so far. */
  requestCount: number;
  answer: (request: Request) => Response | Promise<Response>;
}

/** Starts a key server that offers `keys`. */
export function startKeyServer(...keys: readonly JWK[]): KeyServer {
  const abort = new AbortController();
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", signal: abort.signal, onListen: () => {} }, (request) => {
    self.requestCount++;
    return self.answer(request);
  });
  const self: KeyServer = {
    url: `http://127.0.0.1:${server.addr.port}/jwks`,
    requestCount: 0,
    answer: () => Response.json({ keys }),
    [Symbol.asyncDispose]: async () => {
      abort.abort();
      await server.finished;
    },
  };
  return self;
}
