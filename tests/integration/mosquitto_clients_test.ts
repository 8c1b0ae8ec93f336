/**
 * Debian's mosquitto_pub and mosquitto_sub against the real broker.
 *
 * mosquitto_sub prints nothing on SUBACK, so a retained marker tells when it has subscribed.
 */
import assert from "node:assert/strict";
import { Broker } from "../support/broker.ts";
import { findTool, runTool, startTool, testWithTools } from "../support/tools.ts";

const PUBLISHER = findTool("mosquitto_pub");
const SUBSCRIBER = findTool("mosquitto_sub");
const TOOLS = [PUBLISHER, SUBSCRIBER];

function address(broker: Broker): string[] {
  return ["-h", broker.tcp.hostname, "-p", String(broker.tcp.port)];
}

async function publish(broker: Broker, ...args: readonly string[]): Promise<void> {
  const result = await runTool(PUBLISHER, [...address(broker), ...args]);
  assert.equal(result.code, 0, result.stderr);
}

for (const version of ["5", "311", "31"]) {
  for (const qos of ["0", "1", "2"]) {
    testWithTools(`mosquitto clients, protocol ${version}, QoS ${qos}: a message arrives`, TOOLS, async () => {
      await using broker = await Broker.start();
      await publish(broker, "-t", "a/ready", "-m", "ready", "-r", "-q", "1");
      const subscriber = startTool(SUBSCRIBER, [
        ...[...address(broker), "-V", version, "-q", qos, "-t", "a/#", "-C", "2", "-v", "-W", "20"],
      ]);
      await subscriber.child.stdin.close();
      assert.equal(await subscriber.line(), "a/ready ready");
      await publish(broker, "-V", version, "-q", qos, "-t", "a/b", "-m", "hi");
      const result = await subscriber.result();
      assert.equal(result.code, 0, result.stderr);
      assert.equal(result.stdout, "a/ready ready\na/b hi\n");
    });
  }
}

testWithTools("mosquitto_sub gets retained messages with the retain flag", TOOLS, async () => {
  await using broker = await Broker.start();
  await publish(broker, "-t", "kept/1", "-m", "one", "-r", "-q", "1");
  await publish(broker, "-t", "kept/2", "-m", "two", "-r", "-q", "2");
  const result = await runTool(SUBSCRIBER, [
    ...[...address(broker), "-t", "kept/+", "-q", "2", "-C", "2", "-F", "%r %q %t %p", "-W", "20"],
  ]);
  assert.deepEqual(result.stdout.trim().split("\n").sort(), ["1 1 kept/1 one", "1 2 kept/2 two"]);
});

testWithTools("mosquitto_sub -V 5 sees the properties of mosquitto_pub -V 5", TOOLS, async () => {
  await using broker = await Broker.start();
  const properties = ["content-type text/plain", "response-topic r/t", "correlation-data c1"];
  const flags = [...properties, "user-property unit m"].flatMap((text) => ["-D", "publish", ...text.split(" ")]);
  await publish(broker, "-V", "5", "-t", "props", "-m", "x", "-r", "-q", "1", ...flags);
  const result = await runTool(SUBSCRIBER, [
    ...[...address(broker), "-V", "5", "-t", "props", "-C", "1", "-F", "%C %R %D %P", "-W", "20"],
  ]);
  assert.equal(result.stdout, "text/plain r/t c1 unit:m\n");
});

testWithTools("mosquitto_sub reads the $SYS tree, and # alone does not", TOOLS, async () => {
  await using broker = await Broker.start();
  const result = await runTool(SUBSCRIBER, [...address(broker), "-t", "$SYS/#", "-C", "5", "-v", "-W", "20"]);
  assert.equal(result.code, 0, result.stderr);
  const lines = result.stdout.trim().split("\n");
  assert.equal(lines.length, 5);
  for (const line of lines) assert.match(line, /^\$SYS\/broker\/\S+ /);
  await publish(broker, "-t", "plain", "-m", "x", "-r", "-q", "1");
  const all = await runTool(SUBSCRIBER, [...address(broker), "-t", "#", "-C", "1", "-v", "-W", "20"]);
  assert.equal(all.stdout, "plain x\n");
});

testWithTools("mosquitto_pub sends a thousand lines in order at QoS 1", TOOLS, async () => {
  await using broker = await Broker.start();
  await publish(broker, "-t", "lines", "-m", "ready", "-r", "-q", "1");
  const subscriber = startTool(SUBSCRIBER, [...address(broker), "-q", "1", "-t", "lines", "-C", "1001", "-W", "60"]);
  await subscriber.child.stdin.close();
  assert.equal(await subscriber.line(), "ready");
  const lines = Array.from({ length: 1000 }, (_, index) => `line ${index}`).join("\n") + "\n";
  const sent = await runTool(PUBLISHER, [...address(broker), "-q", "1", "-t", "lines", "-l"], lines);
  assert.equal(sent.code, 0, sent.stderr);
  const result = await subscriber.result();
  assert.equal(result.stdout, `ready\n${lines}`);
});
