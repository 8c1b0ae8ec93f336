/**
 * Attempts to get in, or to become somebody else, with the exchange of SCRAM-SHA-256.
 */
import assert from "node:assert/strict";
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { gone, planted, playDoor, refused } from "../support/break_in.ts";
import { credentialsOf, type GuardedBroker, PASSWORDS } from "../support/guarded_broker.ts";
import { RawClient } from "../support/raw_client.ts";
import { fromHex, toHex } from "../support/wire_bytes.ts";
import type { WireFields } from "../support/wire_packets.ts";
import type { Attempts } from "./break_in_attempts.ts";

const NOT_AUTHORIZED = 0x87;
const PROTOCOL_ERROR = 0x82;
const BAD_METHOD = 0x8c;
const METHOD = "SCRAM-SHA-256";
const PASSWORD = PASSWORDS["sally"]!;

const scram: Attempts<"SCRAM"> = {
  "wrong password": (g) => failing(g, { password: "guessed-1" }),
  "user that does not exist": (g) => failing(g, { username: "nobody" }),
  "user without a verifier": (g) => failing(g, { username: "alice", password: PASSWORDS["alice"]! }),
  "stored verifier in place of the password": async (g) => {
    const line = (await Deno.readTextFile(`${g.directory}/users`)).split("\n").find((text) =>
      text.startsWith("sally:")
    )!;
    const storedKey = Uint8Array.fromBase64(line.split("$").at(-2)!);
    await failing(g, { proof: (signed) => xor(storedKey, hmac(storedKey, signed)) });
  },
  "empty proof": (g) => failing(g, { proof: () => new Uint8Array(0) }),
  "proof of zeros": (g) => failing(g, { proof: () => new Uint8Array(32) }),
  "proof of a former exchange": async (g) => {
    const recorded: { message?: string } = {};
    const client = await exchange(g, { record: (message) => recorded.message = message });
    assert.equal((await client.expect("connack")).wire.reasonCode, 0);
    await client.close();
    await failing(g, { rewrite: () => recorded.message! });
  },
  "proof of a former exchange under the new nonce": async (g) => {
    let proof = "";
    const client = await exchange(g, { record: (message) => proof = message.split(",p=")[1]! });
    assert.equal((await client.expect("connack")).wire.reasonCode, 0);
    await client.close();
    await failing(g, { rewrite: (message) => message.replace(/,p=.*/, `,p=${proof}`) });
  },
  "nonce of the client alone": (g) => failing(g, { rewrite: (message) => message.replace(/,r=[^,]*/, `,r=${NONCE}`) }),
  "nonce chosen by the client": async (g) => {
    const first = async () => {
      await using client = await begin(g, `n,,n=sally,r=${NONCE}`);
      return textOf((await client.expect("auth")).wire.properties);
    };
    assert.notEqual(await first(), await first(), "the part of the server is the same twice");
  },
  "iterations lowered by the client": (g) => failing(g, { iterations: 1 }),
  "channel binding asked for": (g) => failingFirst(g, `p=tls-unique,,n=sally,r=${NONCE}`),
  "channel binding flag changed": (g) =>
    failing(g, { rewrite: (message) => message.replace(/^c=[^,]*/, `c=${btoa("y,,")}`) }),
  "identity to act for": async (g) => {
    await failingFirst(g, `n,a=alice,n=sally,r=${NONCE}`);
    await failingFirst(g, `n,a=scott,n=sally,r=${NONCE}`);
  },
  "extension that must be understood": (g) => failingFirst(g, `n,,m=x,n=sally,r=${NONCE}`),
  "name given twice": (g) => failingFirst(g, `n,,n=sally,n=scott,r=${NONCE}`),
  "name with bad escapes": async (g) => {
    for (const name of ["sa=ly", "sally=", "sally=2c", "", "sal\nly", "sally\0"]) {
      await failingFirst(g, `n,,n=${name},r=${NONCE}`);
    }
  },
  "nonce that is not one": async (g) => {
    for (const nonce of ["", "a b", "\u00e9", "x".repeat(5000)]) await failingFirst(g, `n,,n=sally,r=${nonce}`);
  },
  "no message, or not text": async (g) => {
    await failingFirst(g, "");
    await failingFirst(g, fromHex("ff fe 00"));
    await refused(g.endpoint("tcp"), { properties: [["authenticationMethod", METHOD]] }, NOT_AUTHORIZED);
  },
  "last message first": (g) => failingFirst(g, `c=biws,r=${NONCE},p=${btoa("x".repeat(32))}`),
  "method that does not exist": async (g) => {
    for (const method of ["PLAIN", "SCRAM-SHA-1", "scram-sha-256", "SCRAM-SHA-256-PLUS", "EXTERNAL", "ANONYMOUS", ""]) {
      await refused(g.endpoint("tcp"), { properties: [["authenticationMethod", method]] }, BAD_METHOD);
    }
  },
  "method beside a right password of another": (g) =>
    failing(g, { password: "guessed-2", fields: credentialsOf("alice") }),
  "another method in the middle": async (g) => {
    await using client = await begin(g, `n,,n=sally,r=${NONCE}`);
    await client.expect("auth");
    await client.sendPacket("auth", { reasonCode: 0x18, properties: [["authenticationMethod", "PLAIN"]] });
    await endsUnserved(client);
  },
  "messages in the middle": async (g) => {
    for (const type of ["publish", "subscribe", "pingreq", "connect"] as const) {
      await using client = await begin(g, `n,,n=sally,r=${NONCE}`);
      await client.expect("auth");
      await client.sendPacket(type, { topic: "intrusion/x", id: 1, subscriptions: [{ filter: "#" }] }).catch(gone);
      await endsUnserved(client);
    }
  },
  "claim of success from the client": async (g) => {
    for (const reasonCode of [0x00, 0x19]) {
      await using client = await begin(g, `n,,n=sally,r=${NONCE}`);
      await client.expect("auth");
      await client.sendPacket("auth", { reasonCode, properties: [["authenticationMethod", METHOD]] });
      await endsUnserved(client);
    }
  },
  "flood of AUTH": async (g) => {
    await using client = await begin(g, `n,,n=sally,r=${NONCE}`);
    await client.expect("auth");
    for (let count = 0; count < 200; count++) await client.sendPacket("auth", authFields(0x18, "x")).catch(gone);
    await endsUnserved(client);
  },
  "challenge that tells users apart": async (g) => {
    const shapeOf = async (name: string) => {
      await using client = await begin(g, `n,,n=${name},r=${NONCE}`);
      const parts = textOf((await client.expect("auth")).wire.properties).split(",");
      return [parts[0]!.length, parts[1], parts[2]] as const;
    };
    const [known, unknown, again] = [await shapeOf("sally"), await shapeOf("nobody"), await shapeOf("nobody")];
    assert.equal(unknown[0], known[0]);
    assert.equal(unknown[1]?.length, known[1]?.length);
    assert.equal(unknown[2], known[2], "iterations");
    assert.equal(again[1], unknown[1], "a made-up salt stays the same");
  },
  "AUTH without an exchange": async (g) => {
    await using client = await g.login("mallory", { clientId: "no-exchange" });
    await client.sendPacket("auth", authFields(0x19, `n,,n=sally,r=${NONCE}`));
    assert.equal((await client.expect("disconnect")).wire.reasonCode, PROTOCOL_ERROR);
    await client.expectClose();
  },
  "re-authentication as another user": async (g) => {
    for (const password of [PASSWORDS["scott"]!, "guessed-3"]) {
      await using client = await exchange(g, { fields: { clientId: "again" } });
      assert.equal((await client.expect("connack")).wire.reasonCode, 0);
      const message = `n=scott,r=${NONCE}`;
      await client.sendPacket("auth", authFields(0x19, `n,,${message}`));
      const challenge = textOf((await client.expect("auth")).wire.properties);
      await client.send(planted());
      await client.sendPacket("auth", authFields(0x18, finalMessage(message, challenge, { password })));
      // The same answer whether the password was right or not.
      assert.equal((await client.expect("disconnect")).wire.reasonCode, NOT_AUTHORIZED);
      await client.expectClose();
    }
  },
};

/** What an attacker does in other ways than a client should. */
interface Deviation {
  readonly username?: string;
  readonly password?: string;
  readonly iterations?: number;
  readonly fields?: WireFields;
  /** In place of the right proof, from what is signed. */
  readonly proof?: (signed: string) => Uint8Array;
  /** Changes client-final. */
  readonly rewrite?: (message: string) => string;
  readonly record?: (message: string) => void;
}

const NONCE = "fyko+d2lbbFgONRv9qkxdawL";

function authFields(reasonCode: number, data: string | Uint8Array): WireFields {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  return { reasonCode, properties: [["authenticationMethod", METHOD], ["authenticationData", toHex(bytes)]] };
}

async function begin(g: GuardedBroker, first: string | Uint8Array, fields: WireFields = {}): Promise<RawClient> {
  const client = await RawClient.open(g.endpoint("tcp"));
  await client.sendPacket("connect", { clientId: "scram", ...fields, ...authFields(0, first) });
  return client;
}

/** The whole exchange up to the last message of the client. */
async function exchange(g: GuardedBroker, deviation: Deviation = {}): Promise<RawClient> {
  const bare = `n=${deviation.username ?? "sally"},r=${NONCE}`;
  const client = await begin(g, `n,,${bare}`, deviation.fields);
  const challenge = textOf((await client.expect("auth")).wire.properties);
  const message = finalMessage(bare, challenge, deviation);
  deviation.record?.(message);
  await client.sendPacket("auth", authFields(0x18, deviation.rewrite?.(message) ?? message));
  return client;
}

async function failing(g: GuardedBroker, deviation: Deviation): Promise<void> {
  await using client = await exchange(g, deviation);
  await client.send(planted()).catch(gone);
  await endsUnserved(client, NOT_AUTHORIZED);
}

async function failingFirst(g: GuardedBroker, first: string | Uint8Array): Promise<void> {
  await using client = await begin(g, first);
  await client.send(planted()).catch(gone);
  await endsUnserved(client, NOT_AUTHORIZED);
}

/** The connection ends; a CONNACK before that is a refusal. */
async function endsUnserved(client: RawClient, reasonCode?: number): Promise<void> {
  const codes = (await client.drain()).map(({ wire }) => wire.reasonCode);
  assert.ok(codes.every((code) => (code ?? 0) >= 0x80), `got Reason Codes ${codes}`);
  if (reasonCode !== undefined) assert.deepEqual(codes, [reasonCode]);
}

function finalMessage(bare: string, challenge: string, deviation: Deviation): string {
  const { nonce, salt, iterations } = /^r=(?<nonce>[^,]+),s=(?<salt>[^,]+),i=(?<iterations>\d+)$/.exec(challenge)!
    .groups!;
  const rounds = deviation.iterations ?? Number(iterations);
  const salted = pbkdf2Sync(deviation.password ?? PASSWORD, Uint8Array.fromBase64(salt!), rounds, 32, "sha256");
  const clientKey = hmac(salted, "Client Key");
  const withoutProof = `c=biws,r=${nonce}`;
  const signed = `${bare},${challenge},${withoutProof}`;
  const storedKey = createHash("sha256").update(clientKey).digest();
  const proof = deviation.proof?.(signed) ?? xor(clientKey, hmac(storedKey, signed));
  return `${withoutProof},p=${proof.toBase64()}`;
}

function hmac(key: Uint8Array, data: string): Uint8Array {
  return createHmac("sha256", key).update(data).digest();
}

function xor(one: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(one, (byte, index) => byte ^ other[index]!);
}

function textOf(properties: WireFields["properties"]): string {
  const data = properties?.find(([name]) => name === "authenticationData")?.[1];
  assert.ok(typeof data === "string", "there is no Authentication Data");
  return new TextDecoder().decode(fromHex(data));
}

playDoor("SCRAM", scram);
