/**
 * JSON Web Tokens against a whole broker: keys from files and from a key server, what a token may say, and its end.
 */
import type { JWTPayload } from "jose";
import assert from "node:assert/strict";
import { type Issuer, makeIssuer, signWithSecret, startKeyServer } from "../auth/token/jwt_rig.ts";
import { attempt, connectCode, connectedFrom } from "../support/connect_attempt.ts";
import { connectMqttJs } from "../support/mqtt_js_client.ts";
import { assertKeeps } from "../support/secrecy.ts";
import { findTool, runTool, testWithTools } from "../support/tools.ts";
import { WatchedBroker } from "../support/watched_broker.ts";

const PUBLISHER = findTool("mosquitto_pub");
const BAD_USER_NAME_OR_PASSWORD = 0x86;
const SECRET = "a secret of at least thirty-two bytes, shared with the issuer";
const ANYWHERE = "listeners: [{name: anywhere, type: tcp, bind: '127.0.0.1:0', proxy-protocol: true}]\n";

/** Claims of a token that is good for as long as any test runs. */
function claims(more: JWTPayload = {}): JWTPayload {
  return { sub: "gateway-7", exp: nowSeconds() + 600, ...more };
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

interface World extends AsyncDisposable {
  readonly broker: WatchedBroker;
  readonly issuer: Issuer;
  readonly remote: Issuer;
  /** CONNECT with a token; each from an address of its own. @returns Reason Code, before MQTT 5 the return code. */
  code(token: string, fields?: object): Promise<number>;
}

/** A broker with one issuer's key in a file, another's on a key server, and a secret. */
async function openWorld(): Promise<World> {
  const stack = new AsyncDisposableStack();
  const issuer = await makeIssuer("ES256", "file-key");
  const remote = await makeIssuer("EdDSA", "server-key");
  const keyServer = stack.use(startKeyServer(remote.jwk));
  const jwt = `{key-file: keys.pem, secret-file: secret, jwks-url: "${keyServer.url}", leeway: 0s}`;
  const broker = stack.use(
    await WatchedBroker.start({
      config: `auth: {allow-anonymous: true, jwt: ${jwt}}\n${ANYWHERE}`,
      files: { "keys.pem": issuer.pem, secret: SECRET },
    }),
  );
  let host = 0;
  return {
    broker,
    issuer,
    remote,
    code: (token, fields = {}) =>
      connectCode(broker.endpoint("anywhere"), { clientId: "c", password: token, ...fields }, `192.0.2.${++host}`),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

testWithTools(
  "token: clients with one of either key or of the secret come in under its name",
  [PUBLISHER],
  async () => {
    await using world = await openWorld();
    const { broker, issuer, remote } = world;
    const tokens = [
      await issuer.sign(claims()),
      await remote.sign(claims()),
      await signWithSecret(SECRET, "HS256", claims()),
    ];
    for (const token of tokens) {
      assert.equal(await world.code(token), 0);
      assert.equal(await world.code(token, { username: "gateway-7" }), 0);
      assert.equal(await world.code(token, { version: 4, username: "" }), 0, "3.1.1 has no password without a name");
      assert.equal(await world.code(token, { username: "gateway-8" }), BAD_USER_NAME_OR_PASSWORD);
    }
    assert.equal(await broker.count("connects_refused", "username_mismatch"), tokens.length);
    const { port } = broker.endpoint();
    const { code, stderr } = await runTool(PUBLISHER, [
      ...["-h", "127.0.0.1", "-p", `${port}`, "-t", "t", "-m", "m", "-q", "1", "-u", "gateway-7", "-P", tokens[0]!],
    ]);
    assert.equal(code, 0, stderr);
    const client = await connectMqttJs(broker.endpoint(), { protocolVersion: 5, username: "", password: tokens[1]! });
    await client.endAsync();
  },
);

Deno.test("token: one that is forged, over, early, nameless or for nobody in particular is refused and told nowhere", async () => {
  await using world = await openWorld();
  const { broker, issuer } = world;
  const stranger = await makeIssuer("ES256", "file-key");
  const unknown = await makeIssuer("PS256", "some-key");
  const [header, , signature] = (await issuer.sign(claims())).split(".");
  const part = (value: unknown) => btoa(JSON.stringify(value)).replaceAll("=", "");
  const refused: readonly (readonly [reason: string, token: string])[] = [
    ["token_signature", await stranger.sign(claims())],
    ["token_signature", `${header}.${part(claims({ sub: "admin" }))}.${signature}`],
    ["token_signature", await signWithSecret(`${SECRET}.`, "HS256", claims())],
    ["token_signature", await signWithSecret(issuer.pem, "HS256", claims())],
    ["token_key_unknown", await unknown.sign(claims())],
    ["token_algorithm", `${part({ alg: "none" })}.${part(claims())}.`],
    ["token_algorithm", await signWithSecret(issuer.pem, "HS512", claims()).then((token) => `${token}.x.y`)],
    ["token_malformed", `${part({ alg: "ES256", crit: ["b64"], b64: false })}.${part(claims())}.${signature}`],
    ["token_too_long", await issuer.sign(claims({ padding: "x".repeat(16_384) }))],
    ["token_expired", await issuer.sign(claims({ exp: nowSeconds() - 60 }))],
    ["token_not_yet_valid", await issuer.sign(claims({ nbf: nowSeconds() + 600 }))],
    ["token_claims", await issuer.sign({ sub: "gateway-7" })],
    ["token_claims", await issuer.sign(claims({ sub: "" }))],
    ["unknown_user", "not.a.token"],
  ];
  for (const [reason, token] of refused) {
    const before = await broker.count("connects_refused", reason);
    assert.equal(await world.code(token), BAD_USER_NAME_OR_PASSWORD, reason);
    assert.equal(await world.code(token, { version: 4, username: "" }), 4, reason);
    assert.equal(await broker.count("connects_refused", reason), before + 2, reason);
  }
  assert.equal(await world.code("", { password: undefined }), 0, "who shows nothing is anonymous");
  const tokens = refused.map(([, token]) => token).filter((token) => token.length > 20);
  const told = [await broker.metrics(), JSON.stringify(await broker.stop())].join();
  assertKeeps([SECRET, ...tokens.flatMap((token) => [token, token.split(".")[1]!])], told, "log or /metrics");
});

Deno.test("token: when it expires its connection ends, with 0xA0 where the version can say so", async () => {
  await using world = await openWorld();
  const { broker, issuer } = world;
  const token = await issuer.sign(claims({ exp: nowSeconds() + 3 }));
  await using five = await connectedFrom(broker.endpoint(), { clientId: "five", password: token });
  await using four = await connectedFrom(broker.endpoint(), {
    version: 4,
    clientId: "four",
    username: "",
    password: token,
  });
  await using lasting = await connectedFrom(broker.endpoint(), {
    clientId: "lasting",
    password: await issuer.sign(claims()),
  });
  assert.equal((await five.expect("disconnect")).wire.reasonCode, 0xa0);
  await five.expectClose();
  await four.expectClose();
  await lasting.expectQuiet();
});

Deno.test("token: other keys in the file hold from the next look on, and a file without any changes nothing", async () => {
  await using world = await openWorld();
  const { broker, issuer } = world;
  const next = await makeIssuer("ES256", "next-key");
  assert.equal(await world.code(await next.sign(claims())), BAD_USER_NAME_OR_PASSWORD);
  await broker.write("keys.pem", "no key\n");
  await broker.logged("cannot use the changed file of token keys, the keys before are kept");
  assert.equal(await world.code(await issuer.sign(claims())), 0);
  await broker.write("keys.pem", next.pem);
  await broker.logged("read the changed file of token keys", { keys: 1 });
  assert.equal(await world.code(await next.sign(claims())), 0);
});

Deno.test("token: rules in the claim acl come before those of the file, and hold for this client alone", async () => {
  const issuer = await makeIssuer("ES256");
  const acl = "default: deny\nrules:\n  - {deny: publish, topics: 'cells/#'}\n  - {allow: subscribe, topics: '#'}\n";
  await using broker = await WatchedBroker.start({
    config: "auth: {acl-file: acl.yaml, jwt: {key-file: keys.pem}}\n",
    files: { "keys.pem": issuer.pem, "acl.yaml": acl },
  });
  const rules = [{ effect: "allow", action: "publish", topics: ["cells/%u"], "max-qos": 1 }];
  const connect = async (clientId: string, more: JWTPayload) =>
    await attempt(broker.endpoint(), { clientId, password: await issuer.sign(claims(more)) });
  await using ruled = await connect("a", { acl: rules });
  await using plain = await connect("b", {});
  const publish = async ({ client }: typeof ruled, topic: string, qos: number) => {
    await client.sendPacket("publish", { topic, qos, id: 1 });
    return (await client.expect(qos === 1 ? "puback" : "pubrec")).wire.reasonCode;
  };
  assert.equal(await publish(ruled, "cells/gateway-7", 1), 0x10);
  assert.equal(await publish(ruled, "cells/gateway-7", 2), 0x87);
  assert.equal(await publish(ruled, "cells/gateway-8", 1), 0x87);
  assert.equal(await publish(plain, "cells/gateway-7", 1), 0x87);
  const code = await connectCode(broker.endpoint(), { clientId: "c", password: await issuer.sign(claims({ acl: 7 })) });
  assert.equal(code, BAD_USER_NAME_OR_PASSWORD, "rules that cannot be read refuse the token");
});
