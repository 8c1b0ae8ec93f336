/**
 * Goal: a Session never gets the number of another one, however many there have been: what is on record for one client must
 * not come to speak of another.
 *
 * Method: a store with a Session that is owed a message; the next number in its database is set to where the field of the
 * records is full; Sessions are opened from there on, which may be refused, and make progress; then a start.
 */
import assert from "node:assert/strict";
import { ModelBroker } from "../model_broker.ts";
import { storeTest } from "../store_rig.ts";

/** The largest number that a record can name. */
const NUMBER_MAX = 0xffff_ffff;

for (const next of [NUMBER_MAX, NUMBER_MAX + 1, NUMBER_MAX + 2]) {
  storeTest(`the Session after number ${next - 1} speaks for no other`, { onCorruption: "quarantine" }, async (rig) => {
    const first = new ModelBroker(rig);
    const session = first.open("keep/#");
    const position = first.publish([session]);
    await first.settle();
    // Also in the database, which holds the next number.
    rig.compactionPolicy.maxWalBytes = 0;
    rig.log.endSegment();
    rig.pass();
    const disk = rig.disk.image({ below: () => 0 }, "kill");
    const full = rig.openOver(disk, (database) => database.prepare("UPDATE store SET next_session = ?").run(next));
    const second = new ModelBroker(full);
    for (let count = 0; count < 3; count++) {
      try {
        const later = second.open("later/#");
        second.publish([later]);
        second.send(later);
        second.finish(later);
        second.end(later);
      } catch {
        break;
      }
    }
    second.commit();
    await full.advance(1_000);
    const found = await full.crash("kill");
    const { losses } = found.opened.report;
    assert.deepEqual(losses, [], "no record is taken for damage");
    assert.equal(found.recovered.sessions.get(session)?.opened?.clientId, `client ${session}`);
    assert.deepEqual(found.recovered.owed.get(session)?.map((owed) => owed.position), [position]);
    found.abandon();
    full.abandon();
  });
}
