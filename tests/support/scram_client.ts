/**
 * The client's side of SCRAM-SHA-256, for tests that speak it in AUTH packets. [RFC 5802, RFC 7677]
 */
import assert from "node:assert/strict";
import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import type { RawClient, Received } from "./raw_client.ts";
import { toHex } from "./wire_bytes.ts";
import type { WireFields } from "./wire_packets.ts";
import type { WireProperty } from "./wire_properties.ts";

const METHOD = "SCRAM-SHA-256";
const CONTINUE = 0x18;
const RE_AUTHENTICATE = 0x19;

/** One exchange: what a client says, and what it expects in the end. */
export class ScramProof {
  readonly #bare: string;
  readonly #password: string;
  /** What the broker has to prove in its last message; known after `final`. */
  serverFinal = "";

  constructor(username: string, password: string) {
    this.#bare = `n=${username},r=${randomBytes(18).toString("base64")}`;
    this.#password = password;
  }

  /** The first message. */
  get first(): string {
    return `n,,${this.#bare}`;
  }

  /** The last message. @param challenge The broker's first one. */
  final(challenge: string): string {
    const [, nonce, salt, iterations] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(challenge) ?? assert.fail(challenge);
    const hmac = (key: Uint8Array, data: string) => createHmac("sha256", key).update(data).digest();
    const salted = pbkdf2Sync(this.#password, Uint8Array.fromBase64(salt!), Number(iterations), 32, "sha256");
    const clientKey = hmac(salted, "Client Key");
    const withoutProof = `c=biws,r=${nonce}`;
    const signed = `${this.#bare},${challenge},${withoutProof}`;
    const signature = hmac(createHash("sha256").update(clientKey).digest(), signed);
    this.serverFinal = `v=${hmac(hmac(salted, "Server Key"), signed).toString("base64")}`;
    return `${withoutProof},p=${Uint8Array.from(clientKey, (byte, i) => byte ^ signature[i]!).toBase64()}`;
  }
}

/** CONNECT with SCRAM up to CONNACK. @returns Its packet, after the proof of the broker was checked on success. */
export async function connectWithScram(
  client: RawClient,
  fields: WireFields,
  username: string,
  password: string,
): Promise<Received> {
  const proof = new ScramProof(username, password);
  await client.sendPacket("connect", { ...fields, version: 5, properties: authentication(proof.first) });
  return await finish(client, proof, "connack");
}

/** Re-authentication. @returns AUTH, or DISCONNECT when the broker does not agree. */
export async function authenticateAgain(client: RawClient, username: string, password: string): Promise<Received> {
  const proof = new ScramProof(username, password);
  await client.sendPacket("auth", { reasonCode: RE_AUTHENTICATE, properties: authentication(proof.first) });
  return await finish(client, proof, "auth");
}

async function finish(client: RawClient, proof: ScramProof, last: "connack" | "auth"): Promise<Received> {
  const challenge = await client.expect("auth");
  assert.equal(challenge.wire.reasonCode, CONTINUE);
  const answer = proof.final(dataOf(challenge));
  await client.sendPacket("auth", { reasonCode: CONTINUE, properties: authentication(answer) });
  const received = await client.next("the end of the exchange");
  assert.ok(received, "the connection ended within the exchange");
  const isSuccess = received.wire.type === last && received.wire.reasonCode === 0;
  if (isSuccess) assert.equal(dataOf(received), proof.serverFinal, "the broker does not know the password");
  return received;
}

function authentication(text: string): WireProperty[] {
  return [["authenticationMethod", METHOD], ["authenticationData", toHex(new TextEncoder().encode(text))]];
}

function dataOf({ wire }: Received): string {
  const hex = wire.properties?.find(([name]) => name === "authenticationData")?.[1];
  assert.ok(typeof hex === "string", "no Authentication Data");
  return new TextDecoder().decode(Uint8Array.fromHex(hex));
}
