/**
 * A broker as a careful operator runs it: nobody anonymous, passwords, tokens, SCRAM, certificates, rules, TLS, a proxy
 * and a Unix socket; and the ways of a client to each of its doors.
 *
 * Among its users `alice` may do everything, `mallory` is the attacker with an account of her own, and `sally` and `scott` have a
 * verifier for SCRAM.
 */
import { CompactSign, exportSPKI, generateKeyPair } from "jose";
import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import { formatPasswordHash, type PasswordHash } from "../../src/auth/password/password_hash.ts";
import { hashWithScrypt, makeScramVerifier } from "../../src/auth/password/password_hasher.ts";
import { Broker } from "./broker.ts";
import { type CertificateFiles, TestAuthority } from "./certificates.ts";
import { type Endpoint, RawClient, tcpStream } from "./raw_client.ts";
import type { WireFields } from "./wire_packets.ts";

/** Passwords by user. */
export const PASSWORDS: Readonly<Record<string, string>> = {
  alice: "correct-horse-battery",
  mallory: "mallory-own-password",
  sally: "sally-scram-password",
  scott: "scott-scram-password",
};

/** What issuer and audience of a token have to be. */
export const PARTIES: Readonly<Record<string, unknown>> = { iss: "https://issuer.example", aud: "promptmq" };

const RULES = `default: deny
rules:
  - deny: subscribe
    users: [mallory]
    topics: ["public/hidden/#"]
  - allow: all
    users: [alice]
    topics: ["#", "$SYS/#"]
  - allow: all
    topics: ["users/%u/#", "clients/%u/%c"]
  - allow: subscribe
    topics: ["public/#"]
  - allow: publish
    users: [mallory]
    topics: ["limited/#"]
    max-qos: 1
    retain: false
`;

/** See the head of this file. */
export class GuardedBroker implements AsyncDisposable {
  readonly broker: Broker;
  /** Where users, rules, keys and the Unix socket are. */
  readonly directory: string;
  /** Signs the certificate of the broker. */
  readonly authority: TestAuthority;
  /** Signs those of clients. */
  readonly clientAuthority: TestAuthority;
  /** What the operator gave to the broker to check tokens with; public. */
  readonly issuerPem: string;
  readonly #sign: (claims: Readonly<Record<string, unknown>>, header: Record<string, unknown>) => Promise<string>;

  private constructor(
    broker: Broker,
    directory: string,
    authorities: readonly [TestAuthority, TestAuthority],
    issuerPem: string,
    sign: (claims: Readonly<Record<string, unknown>>, header: Record<string, unknown>) => Promise<string>,
  ) {
    this.broker = broker;
    this.directory = directory;
    [this.authority, this.clientAuthority] = authorities;
    this.issuerPem = issuerPem;
    this.#sign = sign;
  }

  /**
   * Starts it.
   *
   * @param more Further lines of the configuration file.
   * @param authLines Of section `auth`. Without it one failed attempt does not slow the next.
   */
  static async start(more = "", authLines: readonly string[] = ["failures-free: 1000"]): Promise<GuardedBroker> {
    const directory = await Deno.makeTempDir({ prefix: "promptmq_guarded_" });
    const authorities = [await TestAuthority.create("Servers"), await TestAuthority.create("Devices")] as const;
    const { cert, key } = await authorities[0].server();
    const { privateKey, publicKey } = await generateKeyPair("RS256", { extractable: true });
    const issuerPem = await exportSPKI(publicKey);
    await Deno.writeTextFile(`${directory}/issuer.pem`, issuerPem);
    await Deno.writeTextFile(`${directory}/users`, await passwordFile(), { mode: 0o600 });
    await Deno.writeTextFile(`${directory}/acl.yaml`, RULES);
    const config = configuration(directory, { cert, key }, authorities[1].cert, authLines) + more;
    const broker = await Broker.start({ config });
    const sign = (claims: Readonly<Record<string, unknown>>, header: Record<string, unknown>) =>
      new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
        .setProtectedHeader({ alg: "RS256", ...header }).sign(privateKey);
    return new GuardedBroker(broker, directory, authorities, issuerPem, sign);
  }

  /** A listener by its name: `tcp`, `ws`, `tls`, `wss`, `devices` (certificate required) or `proxied`. */
  endpoint(name: string): Endpoint {
    const ready = this.broker.log.find(({ msg }) => msg === "promptmq is ready");
    const address: unknown = ready?.[name] ?? listedAddress(ready?.["listeners"], name);
    assert.ok(typeof address === "string", `the ready line names no ${name}: ${JSON.stringify(ready)}`);
    const colon = address.lastIndexOf(":");
    return { hostname: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
  }

  /** A token of the issuer for `alice`, good for an hour, unless claims or header say otherwise. */
  async token(claims: Readonly<Record<string, unknown>> = {}, header: Record<string, unknown> = {}): Promise<string> {
    const nowSeconds = Math.floor(Date.now() / 1000);
    return await this.#sign({ ...PARTIES, sub: "alice", exp: nowSeconds + 3600, ...claims }, header);
  }

  /** Connects with the right password of a user. */
  async login(username: string, fields: WireFields = {}): Promise<RawClient> {
    return await RawClient.connect(this.endpoint("tcp"), {
      clientId: `${username}-own`,
      keepAlive: 0,
      ...credentialsOf(username),
      ...fields,
    });
  }

  /** Opens the Unix socket of the broker. */
  async openUnix(): Promise<RawClient> {
    return new RawClient(tcpStream(await Deno.connect({ transport: "unix", path: `${this.directory}/mqtt.sock` })), 5);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.broker[Symbol.asyncDispose]();
    for (const authority of [this.authority, this.clientAuthority]) await authority[Symbol.asyncDispose]();
    await Deno.remove(this.directory, { recursive: true });
  }
}

/** Username and password of a user, as fields of CONNECT. */
export function credentialsOf(username: string): WireFields {
  return { username, password: PASSWORDS[username] ?? assert.fail(`no user ${username}`) };
}

/** Address of a listener of the list, as the ready line describes it. */
function listedAddress(listed: unknown, name: string): string | undefined {
  const lines: unknown[] = Array.isArray(listed) ? listed : [];
  return lines.map(String).map((line) => /^(\S+).* (\S+)$/.exec(line)).find((parts) => parts?.[1] === name)?.[2];
}

/** Fast, since nothing here depends on how slow a hash is. */
async function passwordFile(): Promise<string> {
  const bytes = (name: string) => new TextEncoder().encode(PASSWORDS[name]);
  const cost = { logN: 10, blockSize: 8, parallelism: 1 };
  const hashes: [string, PasswordHash][] = [];
  for (const name of ["alice", "mallory"]) {
    hashes.push([name, await Effect.runPromise(hashWithScrypt(bytes(name), cost))]);
  }
  for (const name of ["sally", "scott"]) {
    hashes.push([name, await Effect.runPromise(makeScramVerifier(bytes(name), 4096)) ?? assert.fail("no verifier")]);
  }
  return hashes.map(([name, hash]) => `${name}:${formatPasswordHash(hash)}\n`).join("");
}

function configuration(
  directory: string,
  server: CertificateFiles,
  clientCa: string,
  authLines: readonly string[],
): string {
  return `server:
  tls: true
  tls-cert: ${server.cert}
  tls-key: ${server.key}
  tls-bind: 127.0.0.1:0
  wss-bind: 127.0.0.1:0
  unix-socket: ${directory}/mqtt.sock
  trusted-proxies: 127.0.0.1
  read-timeout: 5s
auth:
  allow-anonymous: false
  password-file: ${directory}/users
  acl-file: ${directory}/acl.yaml
${authLines.map((line) => `  ${line}\n`).join("")}  jwt:
    key-file: ${directory}/issuer.pem
    issuer: ${PARTIES.iss}
    audience: ${PARTIES.aud}
listeners:
  - name: devices
    type: tls
    bind: 127.0.0.1:0
    tls:
      ca: ${clientCa}
      client-auth: require
  - name: proxied
    type: tcp
    bind: 127.0.0.1:0
    proxy-protocol: true
  - name: proxied-local
    type: tcp
    bind: 127.0.0.1:0
    proxy-protocol: true
    allow-anonymous: loopback
  - name: web-local
    type: ws
    bind: 127.0.0.1:0
    allow-anonymous: loopback
`;
}
