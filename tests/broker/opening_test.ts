/**
 * One CONNECT from admission to answer: what may come between, and what a CONNECT that is given up leaves behind.
 */
import assert from "node:assert/strict";
import { scenario } from "./harness.ts";

const HOUR = { sessionExpiryInterval: 3_600 };

Deno.test(
  "a CONNECT that waits for its record when the broker stops is refused; a Session made for it goes, an older one stays",
  scenario({}, (world) => {
    world.durable("old").lose();
    world.settle();
    world.store.isSlow = true;
    const clients = ["old", "new"].map((clientId) =>
      world.open().sendConnect({ clientId, clean: false, properties: HOUR })
    );
    world.settle();
    world.core.sessions.drain();
    world.commit();
    for (const client of clients) assert.deepEqual(client.heard(), ["connack 0x8b", "closed"]);
    assert.deepEqual([...world.core.sessions.sessions.keys()], ["old"]);
    assert.deepEqual([world.counters.sessionsOnline, world.counters.sessionsOffline], [0, 1]);
    world.commit();
    world.restart("written");
    assert.deepEqual([...world.core.sessions.sessions.keys()], ["old"]);
  }),
);

Deno.test(
  "a client that cannot take its CONNACK is not served, and its Session goes on without it [MQTT-3.1.2-24]",
  scenario({}, (world) => {
    const client = world.open().sendConnect({
      clientId: "c",
      clean: false,
      properties: { ...HOUR, maximumPacketSize: 4 },
    });
    assert.deepEqual(client.heard(), ["closed"]);
    assert.deepEqual([world.counters.sessionsOnline, world.counters.sessionsOffline], [0, 1]);
    assert.equal(world.open().connect({ clientId: "c", clean: false, properties: HOUR }), "connack 0 present");
  }),
);

Deno.test(
  "a Session that would be one too many to keep is refused with 0x97, one for this connection only is not",
  scenario({ connectionsMax: 1 }, (world) => {
    const connect = (clientId: string, sessionExpiryInterval: number) => {
      const client = world.open();
      const connack = client.connect({ clientId, clean: false, properties: { sessionExpiryInterval } });
      client.lose();
      world.settle();
      return connack;
    };
    for (let count = 0; count < 10; count++) assert.equal(connect(`c${count}`, 60), "connack 0");
    assert.equal(connect("one more", 60), "connack 0x97");
    assert.equal(connect("passing", 0), "connack 0");
    assert.equal(connect("c0", 60), "connack 0 present");
    world.pass(61_000);
    assert.equal(connect("one more", 60), "connack 0");
  }),
);
