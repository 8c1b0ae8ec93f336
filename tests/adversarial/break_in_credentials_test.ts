/**
 * Attempts to get in with names, passwords and tokens that are not the attacker's, or not even right.
 */
import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { cut, gone, honestConnect, playDoor, refused } from "../support/break_in.ts";
import { credentialsOf, GuardedBroker, PARTIES, PASSWORDS } from "../support/guarded_broker.ts";
import { within } from "../support/event_queue.ts";
import { RawClient } from "../support/raw_client.ts";
import { OPENSSL } from "../support/certificates.ts";
import { testWithTools } from "../support/tools.ts";
import { encodeWire } from "../support/wire_packets.ts";
import { type Attempts } from "./break_in_attempts.ts";

const BAD_LOGIN = 0x86;
const NOT_AUTHORIZED = 0x87;
const MALFORMED = 0x81;
const RATE_EXCEEDED = 0x9f;
/** Of a hundred guesses; the others wait for an answer. */
const TURNED_AWAY_MIN = 80;
const RIGHT = PASSWORDS["alice"]!;
const base64url = (text: string | Uint8Array) =>
  (typeof text === "string" ? new TextEncoder().encode(text) : text)
    .toBase64({ alphabet: "base64url", omitPadding: true });

const passwords: Attempts<"passwords"> = {
  "no credentials": async (g) => {
    for (const name of ["tcp", "proxied"]) {
      const header = name === "proxied" ? "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" : "";
      await using client = await RawClient.open(g.endpoint(name));
      await client.send(new TextEncoder().encode(header), encodeWire("connect", { clientId: "x" }, 5));
      assert.equal((await client.expect("connack")).wire.reasonCode, NOT_AUTHORIZED);
    }
    await refused(g.endpoint("tcp"), { version: 4 }, 5);
    await refused(g.endpoint("tcp"), { version: 3 }, 5);
  },
  "empty name, empty password": async (g) => {
    await refused(g.endpoint("tcp"), { username: "", password: "" }, BAD_LOGIN, NOT_AUTHORIZED);
    await refused(g.endpoint("tcp"), { username: "" }, BAD_LOGIN, NOT_AUTHORIZED);
    await refused(g.endpoint("tcp"), { password: "" }, BAD_LOGIN, NOT_AUTHORIZED);
  },
  "name without password": (g) => refusedAlice(g, undefined),
  "empty password": (g) => refusedAlice(g, ""),
  "wrong password": (g) => refusedAlice(g, "guessed-1"),
  "right password and more": (g) => refusedAlice(g, `${RIGHT}x`),
  "right password cut short": (g) => refusedAlice(g, RIGHT.slice(0, -1)),
  "password of another user": (g) => refusedAlice(g, PASSWORDS["mallory"]!),
  "stored hash as password": async (g) => {
    const line = (await Deno.readTextFile(`${g.directory}/users`)).split("\n")[0]!;
    await refusedAlice(g, line.slice("alice:".length));
  },
  "password without name": (g) => refused(g.endpoint("tcp"), { password: RIGHT }, BAD_LOGIN).then(gone),
  "other spellings of a name": async (g) => {
    for (
      const username of ["Alice", "alice ", " alice", "\u0430lice", "ali\u0301ce", "alice\u200b", "alice\n", "%61lice"]
    ) {
      await refused(g.endpoint("tcp"), { username, password: RIGHT }, BAD_LOGIN, MALFORMED);
    }
  },
  "name with a zero byte": (g) =>
    cut(g.endpoint("tcp"), encodeWire("connect", { username: "alice\0x", password: RIGHT }, 5)),
  "name with broken UTF-8": (g) =>
    cut(g.endpoint("tcp"), encodeWire("connect", { username: { hex: "616c696365ff" }, password: RIGHT }, 5)),
  "name of 65 535 bytes": (g) =>
    refused(g.endpoint("tcp"), { username: "a".repeat(65_535), password: RIGHT }, BAD_LOGIN).then(gone),
  "name with a wildcard": async (g) => {
    for (const username of ["*", "a*", "%u", "#", "+", ".*"]) {
      await refused(g.endpoint("tcp"), { username, password: RIGHT }, BAD_LOGIN);
    }
  },
  "name that every object has": async (g) => {
    for (const username of ["__proto__", "constructor", "toString"]) {
      await refused(g.endpoint("tcp"), { username, password: "guessed-2" }, BAD_LOGIN);
    }
  },
  "password flag without name flag": (g) =>
    cut(g.endpoint("tcp"), encodeWire("connect", { version: 4, connectFlags: 0x42, password: RIGHT }, 4)),
  "second CONNECT as another user": async (g) => {
    await using client = await g.login("mallory", { clientId: "twice" });
    await client.send(honestConnect("alice", { password: "guessed-3" }));
    assert.equal((await client.expect("disconnect")).wire.reasonCode, 0x82);
    await client.expectClose();
  },
  "packets before CONNECT": async (g) => {
    for (const type of ["publish", "subscribe", "pingreq", "auth", "disconnect"] as const) {
      await cut(
        g.endpoint("tcp"),
        encodeWire(type, { topic: "intrusion/x", subscriptions: [{ filter: "#" }], id: 1 }, 5),
      );
    }
  },
  "packets while the password is checked": (g) => refusedAlice(g, "guessed-4"),
  "refusals that tell users apart": async (g) => {
    const known = await refused(g.endpoint("tcp"), { username: "alice", password: "guessed-5" }, BAD_LOGIN);
    const unknown = await refused(g.endpoint("tcp"), { username: "nobody", password: "guessed-5" }, BAD_LOGIN);
    assert.deepEqual(known, unknown);
    const knownBare = await refused(g.endpoint("tcp"), { username: "alice" }, BAD_LOGIN);
    assert.deepEqual(await refused(g.endpoint("tcp"), { username: "nobody" }, BAD_LOGIN), knownBare);
  },
};

async function refusedAlice(g: GuardedBroker, password: string | undefined): Promise<void> {
  const login = { username: "alice", ...(password === undefined ? {} : { password }) };
  await refused(g.endpoint("tcp"), login, BAD_LOGIN);
  await refused(g.endpoint("tcp"), { ...login, version: 4 }, 4);
}

const tokens: Attempts<"tokens"> = {
  "algorithm none": async (g) => {
    for (const algorithm of ["none", "None", "NONE", ""]) {
      const unsigned = await forged({ alg: algorithm }, () => new Uint8Array(0));
      await refusedToken(g, unsigned);
    }
  },
  "public key as shared secret": async (g) => {
    for (const secret of [g.issuerPem, g.issuerPem.trim(), g.issuerPem.replaceAll("\n", "")]) {
      const mac = (text: string) => createHmac("sha256", secret).update(text).digest();
      await refusedToken(g, await forged({ alg: "HS256" }, mac));
    }
  },
  "empty shared secret": async (g) =>
    await refusedToken(g, await forged({ alg: "HS256" }, (text) => createHmac("sha256", "").update(text).digest())),
  "key of the attacker": async (g) => await refusedToken(g, await forged({ alg: "RS256" })),
  "signature left out": async (g) => await refusedToken(g, (await g.token()).replace(/[^.]+$/, "")),
  "signature of another token": async (g) => {
    const [head, , signature] = (await g.token({ sub: "mallory" })).split(".");
    await refusedToken(g, `${head}.${base64url(JSON.stringify({ ...PARTIES, sub: "alice", exp: 4e9 }))}.${signature}`);
  },
  "header changed after signing": async (g) => {
    const parts = (await g.token()).split(".");
    await refusedToken(g, [base64url(`{"alg":"RS256","typ":"other"}`), ...parts.slice(1)].join("."));
  },
  "key in the header": async (g) => {
    const jwk = ATTACKER.publicKey.export({ format: "jwk" });
    await refusedToken(g, await forged({ alg: "RS256", jwk }));
  },
  "address of a key in the header": async (g) => {
    const asked: string[] = [];
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: gone }, (request) => {
      asked.push(request.url);
      return Response.json({ keys: [{ ...ATTACKER.publicKey.export({ format: "jwk" }), kid: "k" }] });
    });
    const url = `http://127.0.0.1:${server.addr.port}/`;
    for (const name of ["jku", "x5u"]) await refusedToken(g, await forged({ alg: "RS256", kid: "k", [name]: url }));
    await server.shutdown();
    assert.deepEqual(asked, [], "the broker asked the attacker");
  },
  "certificate in the header": async (g) =>
    await refusedToken(g, await forged({ alg: "RS256", x5c: [base64url("certificate")] })),
  "name of a key that is a path": async (g) => {
    for (const kid of ["../../dev/null", "/dev/null", "'; --", "\u0000", "a".repeat(5000)]) {
      await refusedToken(g, await forged({ alg: "RS256", kid }));
    }
    await refusedToken(g, await forged({ alg: "RS256", kid: { toString: "x" } }));
  },
  "critical extension": async (g) => {
    for (const header of [{ crit: ["exp"], exp: 1 }, { crit: ["b64"], b64: false }, { crit: [] }]) {
      await refusedToken(g, await forged({ alg: "RS256", ...header }));
    }
    const genuine = await g.token({}, { crit: ["b64"], b64: true }).catch(gone);
    if (genuine !== undefined) await refusedToken(g, genuine);
  },
  "claim given twice": async (g) => {
    const payload = `{"sub":"mallory","sub":"alice","iss":"${PARTIES.iss}","aud":"${PARTIES.aud}","exp":4000000000}`;
    await refusedToken(g, await forged({ alg: "RS256" }, undefined, payload));
    await refusedToken(g, await g.token({ sub: "mallory" }), { username: "alice" });
  },
  "token that has expired": async (g) => {
    for (const exp of [1, 0, -1, Date.now() / 1000 - 60]) await refusedToken(g, await g.token({ exp }));
  },
  "token without end": async (g) => {
    for (const exp of [undefined, null, "never", "4000000000", 1e300]) await refusedToken(g, await g.token({ exp }));
  },
  "token from the future": async (g) => {
    const future = Date.now() / 1000 + 3600;
    await refusedToken(g, await g.token({ nbf: future, exp: future + 60 }));
    await refusedToken(g, await g.token({ iat: future, exp: future + 60 }));
  },
  "token for another audience": async (g) => {
    for (const aud of ["other", ["other"], "promptmq2", ""]) await refusedToken(g, await g.token({ aud }));
  },
  "token of another issuer": async (g) => {
    for (const iss of ["https://issuer.example/", "https://evil.example", ""]) {
      await refusedToken(g, await g.token({ iss }));
    }
  },
  "token of another user": async (g) => {
    await refusedToken(g, await g.token({ sub: "mallory" }), { username: "alice" });
    await refusedToken(g, await g.token({ sub: "alice" }), { username: "mallory" });
  },
  "token without a usable name": async (g) => {
    for (const sub of ["", "a\nb", "a\0", "a".repeat(70_000), "\ud800"]) {
      // Too long a token cannot be sent at all.
      const token = await g.token({ sub });
      if (token.length <= 65_535) await refusedToken(g, token);
    }
    for (const sub of [["alice"], { alice: 1 }, 7, null]) await refusedToken(g, await g.token({ sub }));
  },
  "token of 64 KiB": async (g) => {
    await refusedToken(g, await g.token({ pad: "x".repeat(30_000) }));
    await refusedToken(g, `eyJhbGciOiJSUzI1NiJ9.${"A".repeat(65_000)}.AAAA`);
  },
  "encrypted token": async (g) =>
    await refusedToken(g, `${base64url(`{"alg":"dir","enc":"A256GCM"}`)}..AAAA.AAAA.AAAA`),
  "token with white space": async (g) => {
    for (const around of [" ", "\n", "=", "\0"]) await refusedToken(g, `${await g.token()}${around}`);
  },
  "token in place of the name": async (g) => {
    const token = await g.token();
    await refused(g.endpoint("tcp"), { username: token, password: "guessed-6" }, BAD_LOGIN);
  },
  "rules of its own in an unsigned token": async (g) => {
    const payload = JSON.stringify({ ...PARTIES, sub: "mallory", exp: 4e9, acl: { pub: ["#"], sub: ["#"] } });
    await refusedToken(g, await forged({ alg: "RS256" }, undefined, payload));
  },
};

const ATTACKER = generateKeyPairSync("rsa", { modulusLength: 2048 });

/** A token for `alice` as good as the attacker can make it. */
function forged(
  header: Record<string, unknown>,
  signature = (text: string): Uint8Array => sign("sha256", new TextEncoder().encode(text), ATTACKER.privateKey),
  payload = JSON.stringify({ ...PARTIES, sub: "alice", exp: 4_000_000_000 }),
): Promise<string> {
  const signed = `${base64url(JSON.stringify(header))}.${base64url(payload)}`;
  return Promise.resolve(`${signed}.${base64url(signature(signed))}`);
}

async function refusedToken(g: GuardedBroker, token: string, more: { readonly username?: string } = {}): Promise<void> {
  await refused(g.endpoint("tcp"), { password: token, ...more }, BAD_LOGIN);
  await refused(g.endpoint("tcp"), { username: "", password: token, version: 4, ...more }, 4);
}

playDoor("passwords", passwords);
playDoor("tokens", tokens);

testWithTools(
  "break-in: a flood of guesses is slowed down and turned away, other addresses are served",
  [OPENSSL],
  async () => {
    // Nobody can wait for this delay: who is not refused at once has not been answered.
    const authLines = ["failures-free: 3", "failure-delay: 1h", "failure-delay-max: 1h"];
    await using g = await GuardedBroker.start("", authLines);
    const endpoint = g.endpoint("tcp");
    for (let guess = 0; guess < 4; guess++) {
      await refused(endpoint, {
        username: "alice",
        password: `guessed-${guess}`,
      }, BAD_LOGIN);
    }
    const clients = await Promise.all(Array.from({ length: 100 }, () => RawClient.open(endpoint)));
    for (const client of clients) {
      await client.sendPacket("connect", {
        clientId: "g",
        username: "alice",
        password: "guessed-9",
      });
    }
    const enough = Promise.withResolvers<void>();
    let turnedAway = 0;
    const answers = clients.map(async (client) => {
      const answer = await client.next("CONNACK");
      if (answer === undefined) return;
      assert.equal(answer.wire.reasonCode, RATE_EXCEEDED);
      if (++turnedAway === TURNED_AWAY_MIN) enough.resolve();
    });
    await within(enough.promise, "guesses to be turned away");
    for (const client of clients) await client.close();
    await Promise.all(answers);
    const header = new TextEncoder().encode("PROXY TCP4 203.0.113.9 127.0.0.1 5 6\r\n");
    await using honest = await RawClient.open(g.endpoint("proxied"));
    await honest.send(header, encodeWire("connect", { clientId: "h", ...credentialsOf("alice") }, 5));
    assert.equal((await honest.expect("connack")).wire.reasonCode, 0);
  },
);
