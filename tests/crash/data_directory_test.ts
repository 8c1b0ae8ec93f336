/**
 * What the real broker makes of what it finds in its data directory: another broker, files of a newer version, files
 * that are not its own, torn ends and damage.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { RawClient } from "../support/raw_client.ts";
import {
  BrokerProcess,
  complaints,
  fatalLine,
  namesIn,
  segmentsOf,
  type TemporaryDirectory,
  temporaryDirectory,
} from "./broker_process.ts";
import { payloadsOwed, publish, subscribeAndLeave } from "./durable_client.ts";

const TORN = "the end of the log was torn and cut; nothing in it was synced";
const LOST = "a part of the log is lost";
const PAYLOADS = ["first", "second", "third"];

/** A data directory with a Session that is owed three messages, one in each block of one segment. */
async function withMessages(): Promise<TemporaryDirectory> {
  const directory = await temporaryDirectory();
  await using broker = await BrokerProcess.start({ dataDirectory: directory.data });
  await subscribeAndLeave(broker.tcp, "owed", "t", 1);
  await using publisher = await RawClient.connect(broker.tcp, { clientId: "publisher" });
  for (const [index, payload] of PAYLOADS.entries()) await publish(publisher, index + 1, payload);
  await broker.kill();
  return directory;
}

/** Contents of all files below a directory, but for the locks, whose owner changes. */
function contentsOf(directory: string): Map<string, string> {
  const contents = new Map<string, string>();
  for (const { name, isDirectory } of Deno.readDirSync(directory)) {
    const path = `${directory}/${name}`;
    if (isDirectory) { for (const [inner, text] of contentsOf(path)) contents.set(inner, text); }
    else if (!name.endsWith(".lock")) contents.set(path, Deno.readFileSync(path).toHex());
  }
  return contents;
}

/** Where a text stands in a file. */
function offsetOf(path: string, text: string): number {
  const at = new TextDecoder("latin1").decode(Deno.readFileSync(path)).indexOf(text);
  assert.ok(at > 0, `${path} does not hold ${text}`);
  return at;
}

function overwrite(path: string, at: number, bytes: Uint8Array): void {
  using file = Deno.openSync(path, { write: true });
  file.seekSync(at, Deno.SeekMode.Start);
  file.writeSync(bytes);
}

Deno.test("a second broker on a data directory ends with exit code 75 and one line, and the first serves on", async () => {
  await using directory = await temporaryDirectory();
  await using first = await BrokerProcess.start({ dataDirectory: directory.data });
  const end = await BrokerProcess.fail({ dataDirectory: directory.data });
  assert.equal(end.code, 75);
  const { error, cause } = fatalLine(end);
  assert.equal(error, `Cannot lock ${directory.data}/promptmq.lock: process ${first.pid} is using it`);
  assert.equal(cause, undefined);
  await subscribeAndLeave(first.tcp, "client", "t");
  await first.kill();
  await using again = await BrokerProcess.start({ dataDirectory: directory.data });
  assert.deepEqual(complaints(again.log), []);
});

Deno.test("two data directories with one directory of the log are two brokers on it", async () => {
  await using directory = await temporaryDirectory();
  const flags = ["--wal-dir", `${directory.path}/log`];
  await using first = await BrokerProcess.start({ dataDirectory: directory.data, flags });
  const end = await BrokerProcess.fail({ dataDirectory: `${directory.path}/other`, flags });
  assert.equal(end.code, 75);
  assert.equal(
    fatalLine(end)["error"],
    `Cannot lock ${directory.path}/log/promptmq.lock: process ${first.pid} is using it`,
  );
});

Deno.test("a segment of a newer version is refused with exit code 74, and no file is touched", async () => {
  await using directory = await withMessages();
  const [path = ""] = segmentsOf(directory.wal);
  overwrite(path, 8, new Uint8Array([2, 0, 0, 0]));
  const before = contentsOf(directory.wal);
  const end = await BrokerProcess.fail({ dataDirectory: directory.data });
  assert.equal(end.code, 74);
  const detail = "it has version 2 of the format, and this program knows version 1";
  assert.equal(fatalLine(end)["error"], `Cannot read ${path}: ${detail}`);
  assert.deepEqual(contentsOf(directory.wal), before);
});

for (
  const [what, pragma, words] of [
    ["newer version", "user_version = 999", /version 999/],
    ["another application", "application_id = 7", /application/],
  ] as const
) {
  Deno.test(`a database of ${what} is refused with exit code 74, and no file is touched`, async () => {
    await using directory = await temporaryDirectory();
    await (await BrokerProcess.start({ dataDirectory: directory.data })).stop();
    const database = new DatabaseSync(`${directory.data}/promptmq.db`);
    database.exec(`PRAGMA ${pragma}`);
    database.close();
    const before = contentsOf(directory.data);
    const end = await BrokerProcess.fail({ dataDirectory: directory.data });
    assert.equal(end.code, 74);
    assert.match(String(fatalLine(end)["error"]), words);
    assert.deepEqual(contentsOf(directory.data), before);
  });
}

Deno.test("files that are not the broker's stay as they are", async () => {
  await using directory = await withMessages();
  const foreign = ["notes.txt", "0000.wal", "zzzzzzzzzzzzzzzz.wal", "0000000000000040.wal.old"].map((name) =>
    `${directory.wal}/${name}`
  );
  for (const path of [...foreign, `${directory.data}/backup.db`]) Deno.writeTextFileSync(path, "garbage");
  await using broker = await BrokerProcess.start({ dataDirectory: directory.data });
  assert.deepEqual(complaints(broker.log), []);
  assert.deepEqual(await payloadsOwed(broker.tcp, "owed"), PAYLOADS);
  assert.equal((await broker.stop()).code, 0);
  for (const path of [...foreign, `${directory.data}/backup.db`]) assert.equal(Deno.readTextFileSync(path), "garbage");
});

Deno.test("a torn end is cut off, kept aside and reported, and what was whole is delivered", async () => {
  await using directory = await withMessages();
  const path = segmentsOf(directory.wal).at(-1)!;
  const cut = offsetOf(path, "third") + 2;
  Deno.truncateSync(path, cut);
  {
    await using broker = await BrokerProcess.start({ dataDirectory: directory.data });
    const { bytes } = await broker.untilLogged(TORN);
    const [broken = ""] = namesIn(directory.wal, ".broken");
    assert.equal(broken, `${path.slice(path.lastIndexOf("/") + 1)}.broken`);
    assert.equal(Deno.statSync(`${directory.wal}/${broken}`).size, bytes);
    assert.equal(Deno.statSync(path).size, cut - Number(bytes));
    assert.deepEqual(await payloadsOwed(broker.tcp, "owed"), ["first", "second"]);
    assert.equal((await broker.stop()).code, 0);
  }
  await using again = await BrokerProcess.start({ dataDirectory: directory.data });
  assert.deepEqual(complaints(again.log), []);
});

Deno.test("damage in the middle is reported with its topics and kept, and the rest is delivered", async () => {
  await using directory = await withMessages();
  const path = segmentsOf(directory.wal).at(-1)!;
  overwrite(path, offsetOf(path, "second"), new TextEncoder().encode("S"));
  const damaged = Deno.readFileSync(path);
  {
    await using broker = await BrokerProcess.start({ dataDirectory: directory.data });
    const loss = await broker.untilLogged(LOST);
    assert.deepEqual([loss["segment"], loss["topics"]], [path, ["t"]]);
    assert.ok(Number(loss["firstLsn"]) < Number(loss["endLsn"]));
    assert.deepEqual(Deno.readFileSync(`${path}.quarantine`), damaged);
    assert.deepEqual(await payloadsOwed(broker.tcp, "owed"), ["first", "third"]);
    assert.equal((await broker.stop()).code, 0);
  }
  await using again = await BrokerProcess.start({ dataDirectory: directory.data });
  assert.deepEqual(complaints(again.log), []);
});

Deno.test("with on-corruption: refuse damage is refused with exit code 74, and no file is touched", async () => {
  await using directory = await withMessages();
  const path = segmentsOf(directory.wal).at(-1)!;
  overwrite(path, offsetOf(path, "second"), new TextEncoder().encode("S"));
  const before = contentsOf(directory.wal);
  const options = { "storage.wal.on-corruption": "refuse" };
  const end = await BrokerProcess.fail({ dataDirectory: directory.data, options });
  assert.equal(end.code, 74);
  assert.match(
    String(fatalLine(end)["error"]),
    /^Cannot recover \S+\.wal: .+, LSN \d+ to \d+; storage\.wal\.on-corruption/,
  );
  assert.deepEqual(contentsOf(directory.wal), before);
});

Deno.test("a database that is no database is refused with exit code 74, and stays as it is", async () => {
  await using directory = await temporaryDirectory();
  await (await BrokerProcess.start({ dataDirectory: directory.data })).stop();
  const path = `${directory.data}/promptmq.db`;
  Deno.writeTextFileSync(path, "no database ".repeat(1000));
  const end = await BrokerProcess.fail({ dataDirectory: directory.data });
  assert.equal(end.code, 74);
  assert.match(String(fatalLine(end)["error"]), /promptmq\.db: .*not a database.*backup/);
  assert.equal(Deno.readTextFileSync(path), "no database ".repeat(1000));
});
