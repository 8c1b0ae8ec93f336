/**
 * Users with passwords against a whole broker: files of both kinds of tools, plain passwords from real clients, and
 * SCRAM at CONNECT and later.
 */
import assert from "node:assert/strict";
import { temporaryDirectory } from "../auth/backend_rig.ts";
import { attempt, connectCode, connectedFrom } from "../support/connect_attempt.ts";
import { connectMqttJs } from "../support/mqtt_js_client.ts";
import { RawClient } from "../support/raw_client.ts";
import { authenticateAgain, connectWithScram } from "../support/scram_client.ts";
import { assertKeeps } from "../support/secrecy.ts";
import { findTool, runTool, testWithTools } from "../support/tools.ts";
import { addUser, makeMosquittoFile, MOSQUITTO_PASSWD, runCommand } from "../support/user_file.ts";
import { WatchedBroker } from "../support/watched_broker.ts";

const PUBLISHER = findTool("mosquitto_pub");
const BAD_USER_NAME_OR_PASSWORD = 0x86;
const NOT_AUTHORIZED = 0x87;

/** Users and their passwords; what stands here must turn up nowhere else. */
const PASSWORDS = { alice: "al1ce-Pa55word", bob: "b0b-Pa55word", carol: "car0l-Pa55word", dave: "dave-Pa55word" };
const WRONG = "wr0ng-Pa55word";

/** A listener that takes the address of its clients from a proxy, so that no attempt is delayed by earlier ones. */
const ANYWHERE = "listeners: [{name: anywhere, type: tcp, bind: '127.0.0.1:0', proxy-protocol: true}]\n";

testWithTools(
  "password file: its users come in by name and password whichever tool made them, and nobody else does",
  [MOSQUITTO_PASSWD, PUBLISHER],
  async () => {
    await using directory = await temporaryDirectory();
    const users = `${directory.path}/users`;
    await makeMosquittoFile(users, "bob", PASSWORDS.bob);
    await addUser(users, "alice", PASSWORDS.alice, "--groups", "operators");
    await addUser(users, "carol", PASSWORDS.carol, "--scram");
    const config = `auth: {allow-anonymous: true, password-file: "${users}"}\n${ANYWHERE}`;
    await using broker = await WatchedBroker.start({ config });
    const { port } = broker.endpoint();
    for (const version of ["mqttv311", "mqttv5"]) {
      for (const [name, password] of Object.entries(PASSWORDS).filter(([name]) => name !== "dave")) {
        const identity = ["-u", name, "-P", password, "-V", version];
        const { code, stderr } = await runTool(PUBLISHER, [
          ...["-h", "127.0.0.1", "-p", `${port}`, "-t", "t", "-m", "m", "-q", "1", ...identity],
        ]);
        assert.equal(code, 0, `${name} ${version}: ${stderr}`);
      }
    }
    for (const protocolVersion of [4, 5] as const) {
      const options = { protocolVersion, username: "alice", password: PASSWORDS.alice };
      await (await connectMqttJs(broker.endpoint(), options)).endAsync();
    }
    const from = (address: string, fields: object) => connectCode(broker.endpoint("anywhere"), fields, address);
    assert.equal(await from("192.0.2.1", { username: "bob", password: WRONG }), BAD_USER_NAME_OR_PASSWORD);
    assert.equal(await from("192.0.2.2", { version: 4, clientId: "c", username: "bob", password: WRONG }), 4);
    assert.equal(await from("192.0.2.3", { username: "bob" }), BAD_USER_NAME_OR_PASSWORD);
    assert.equal(await from("192.0.2.4", { username: "BOB", password: PASSWORDS.bob }), BAD_USER_NAME_OR_PASSWORD);
    assert.equal(await from("192.0.2.5", { username: "nobody" }), BAD_USER_NAME_OR_PASSWORD);
    assert.equal(await from("192.0.2.6", { version: 4, clientId: "c", username: "nobody", password: WRONG }), 4);
    assert.equal(await from("192.0.2.7", { password: PASSWORDS.bob }), BAD_USER_NAME_OR_PASSWORD);
    assert.equal(await from("192.0.2.8", {}), 0, "who claims nothing is anonymous");
    assert.equal(await broker.count("connects_refused", "bad_password"), 3);
    assert.equal(await broker.count("connects_refused", "unknown_user"), 4);
    const metrics = await broker.metrics();
    assertKeeps([...Object.values(PASSWORDS), WRONG], metrics, "/metrics");
    assertKeeps([...Object.values(PASSWORDS), WRONG], JSON.stringify(await broker.stop()), "the log");
  },
);

Deno.test("password file: users added, changed and removed while the broker runs count from the next look on", async () => {
  await using directory = await temporaryDirectory();
  const users = `${directory.path}/users`;
  await addUser(users, "carol", PASSWORDS.carol);
  const config = `auth: {password-file: "${users}"}\n${ANYWHERE}`;
  await using broker = await WatchedBroker.start({ config });
  const dave = { clientId: "dave", username: "dave", password: PASSWORDS.dave };
  assert.equal(await connectCode(broker.endpoint("anywhere"), dave, "192.0.2.1"), BAD_USER_NAME_OR_PASSWORD);
  await addUser(users, "dave", PASSWORDS.dave);
  await broker.logged("password file reloaded", { users: 2 });
  await using connected = await connectedFrom(broker.endpoint("anywhere"), dave, "192.0.2.2");
  await Deno.writeTextFile(users, "dave\n", { append: true });
  const refused = await broker.logged("password file refused");
  assert.match(String(refused["problem"]), /users:3: /);
  assert.equal(await connectCode(broker.endpoint("anywhere"), { ...dave, clientId: "d" }, "192.0.2.3"), 0);
  const text = await Deno.readTextFile(users);
  await Deno.writeTextFile(users, text.replace(/^dave\n/m, ""));
  await broker.logged("password file reloaded", { users: 2 });
  await runCommand(["user", "remove", users, "dave"]);
  await broker.logged("password file reloaded", { users: 1 });
  const code = await connectCode(broker.endpoint("anywhere"), { ...dave, clientId: "d" }, "192.0.2.4");
  assert.equal(code, BAD_USER_NAME_OR_PASSWORD);
  await connected.expectQuiet();
});

Deno.test("SCRAM: a client and the broker prove the password to each other, and the client's rights are its user's", async () => {
  await using directory = await temporaryDirectory();
  const users = `${directory.path}/users`;
  await addUser(users, "carol", PASSWORDS.carol, "--scram");
  await addUser(users, "dave", PASSWORDS.dave, "--scram");
  const acl = "default: deny\nrules: [{allow: all, topics: '%u/#'}]\n";
  const config = `auth: {password-file: "${users}", acl-file: acl.yaml}\n${ANYWHERE}`;
  await using broker = await WatchedBroker.start({ config, files: { "acl.yaml": acl } });
  await using carol = await RawClient.open(broker.endpoint());
  const connack = await connectWithScram(carol, { clientId: "c" }, "carol", PASSWORDS.carol);
  assert.equal(connack.wire.reasonCode, 0);
  const publishes = async (client: RawClient, topic: string) => {
    await client.sendPacket("publish", { topic, qos: 1, id: 1 });
    return (await client.expect("puback")).wire.reasonCode;
  };
  assert.equal(await publishes(carol, "carol/t"), 0x10);
  assert.equal(await publishes(carol, "dave/t"), NOT_AUTHORIZED);
  await using other = await attempt(broker.endpoint(), { clientId: "c", username: "dave", password: PASSWORDS.dave });
  assert.equal(other.code, 0x85, "the Session of carol is not dave's");

  const again = await authenticateAgain(carol, "carol", PASSWORDS.carol);
  assert.deepEqual([again.wire.type, again.wire.reasonCode], ["auth", 0]);
  assert.equal(await publishes(carol, "carol/t"), 0x10);
  assert.equal(await publishes(carol, "dave/t"), NOT_AUTHORIZED);
  const asDave = await authenticateAgain(carol, "dave", PASSWORDS.dave);
  assert.deepEqual([asDave.wire.type, asDave.wire.reasonCode], ["disconnect", NOT_AUTHORIZED]);
  await carol.expectClose();

  await using forger = await RawClient.open(broker.endpoint());
  assert.equal((await connectWithScram(forger, { clientId: "c" }, "dave", PASSWORDS.dave)).wire.reasonCode, 0);
  const wrong = await authenticateAgain(forger, "dave", WRONG);
  assert.deepEqual([wrong.wire.type, wrong.wire.reasonCode], ["disconnect", NOT_AUTHORIZED]);
  await forger.expectClose();
  assertKeeps([...Object.values(PASSWORDS), WRONG], JSON.stringify(await broker.stop()), "the log");
});

Deno.test("SCRAM: a wrong password, an unknown user and an unknown method are refused", async () => {
  await using directory = await temporaryDirectory();
  const users = `${directory.path}/users`;
  await addUser(users, "carol", PASSWORDS.carol, "--scram");
  const config = `auth: {allow-anonymous: true, failures-free: 10, password-file: "${users}"}\n`;
  await using broker = await WatchedBroker.start({ config });
  for (const [username, password] of [["carol", WRONG], ["nobody", WRONG], ["", WRONG]] as const) {
    await using client = await RawClient.open(broker.endpoint());
    if (username === "") {
      const properties = [["authenticationMethod", "PLAIN"]] as const;
      await client.sendPacket("connect", { clientId: "c", properties });
      assert.equal((await client.expect("connack")).wire.reasonCode, 0x8c);
    } else {
      const refused = await connectWithScram(client, { clientId: "c" }, username, password);
      assert.deepEqual([refused.wire.type, refused.wire.reasonCode], ["connack", NOT_AUTHORIZED]);
    }
    await client.expectClose();
  }
  assert.equal(await broker.count("connects_refused", "bad_password"), 2);
  assert.equal(await broker.count("connects_refused", "bad_authentication_method"), 1);
  await using another = await RawClient.open(broker.endpoint());
  const mismatch = await connectWithScram(another, { clientId: "c", username: "dave" }, "carol", PASSWORDS.carol);
  assert.deepEqual([mismatch.wire.type, mismatch.wire.reasonCode], ["connack", BAD_USER_NAME_OR_PASSWORD]);
});
