/**
 * Paho for Python, versions 3.1.1 and 5, against the real broker.
 *
 * The script prints one line per event; a failed expectation ends it with a non-zero exit code.
 */
import assert from "node:assert/strict";
import { Broker } from "../support/broker.ts";
import { findPython, runTool, testWithTools } from "../support/tools.ts";

const PYTHON = findPython("paho.mqtt.client");

const SCRIPT = `
import sys
import paho.mqtt.client as paho

host, port, version = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
wanted = ["q0", "q1", "q2"]
seen = []

def on_connect(client, userdata, flags, code, properties=None):
    print("connected", int(code.value if hasattr(code, "value") else code), flags["session present"], flush=True)
    client.subscribe("paho/#", qos=2)

def on_subscribe(client, userdata, mid, granted, properties=None):
    print("granted", [int(g.value if hasattr(g, "value") else g) for g in granted], flush=True)
    for qos, text in enumerate(wanted):
        client.publish("paho/%d" % qos, text, qos=qos)

def on_message(client, userdata, message):
    print("message", message.topic, message.payload.decode(), message.qos, flush=True)
    seen.append(message.payload.decode())
    if len(seen) == 3:
        client.disconnect()

arguments = dict(client_id="paho-%d" % version, protocol=version)
if hasattr(paho, "CallbackAPIVersion"):
    arguments["callback_api_version"] = paho.CallbackAPIVersion.VERSION1
client = paho.Client(**arguments)
client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.connect(host, port, 30)
client.loop_forever(retry_first_connection=False)
sys.exit(0 if sorted(seen) == wanted else 1)
`;

for (const [name, version] of [["3.1.1", "4"], ["5", "5"]] as const) {
  testWithTools(`paho with MQTT ${name} publishes and subscribes at every QoS`, [PYTHON], async () => {
    await using broker = await Broker.start();
    const { hostname, port } = broker.tcp;
    const result = await runTool(PYTHON, ["-c", SCRIPT, hostname, String(port), version]);
    assert.equal(result.code, 0, result.stderr + result.stdout);
    const lines = result.stdout.trim().split("\n");
    assert.equal(lines[0], "connected 0 0");
    assert.equal(lines[1], "granted [2]");
    assert.deepEqual(lines.slice(2).sort(), ["message paho/0 q0 0", "message paho/1 q1 1", "message paho/2 q2 2"]);
  });
}
