/**
 * Rotation of the log file by size.
 */

import assert from "node:assert/strict";
import { RotatingFile } from "../../src/logging/rotating_file.ts";
import { findTool, testWithTools } from "../support/tools.ts";

const PRLIMIT = findTool("prlimit");

function withDirectory(use: (directory: string) => void): void {
  const directory = Deno.makeTempDirSync();
  try {
    use(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

function filesIn(directory: string): Record<string, string> {
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
  return Object.fromEntries(names.map((name) => [name, Deno.readTextFileSync(`${directory}/${name}`)]));
}

Deno.test("RotatingFile starts a new file when a line does not fit and keeps maxFiles old ones", () =>
  withDirectory((directory) => {
    const file = new RotatingFile(`${directory}/x.log`, 10, 2);
    for (const line of ["1234\n", "5678\n", "second\n", "third\n", "fourth\n"]) file.write(line);
    file.close();
    assert.deepEqual(filesIn(directory), { "x.log": "fourth\n", "x.log.1": "third\n", "x.log.2": "second\n" });
  }));

Deno.test("RotatingFile counts bytes, not characters, and never splits a line", () =>
  withDirectory((directory) => {
    const file = new RotatingFile(`${directory}/x.log`, 10, 5);
    file.write("äöü\n");
    file.write("äöü\n");
    file.write("longer than the limit\n");
    file.close();
    assert.deepEqual(filesIn(directory), {
      "x.log": "longer than the limit\n",
      "x.log.1": "äöü\n",
      "x.log.2": "äöü\n",
    });
  }));

Deno.test("RotatingFile goes on with the file of an earlier process", () =>
  withDirectory((directory) => {
    Deno.writeTextFileSync(`${directory}/x.log`, "before\n");
    const file = new RotatingFile(`${directory}/x.log`, 10, 1);
    file.write("on\n");
    file.write("next\n");
    file.close();
    assert.deepEqual(filesIn(directory), { "x.log": "next\n", "x.log.1": "before\non\n" });
  }));

Deno.test("RotatingFile writes each line at once", () =>
  withDirectory((directory) => {
    const file = new RotatingFile(`${directory}/x.log`, 100, 1);
    file.write("seen\n");
    assert.deepEqual(filesIn(directory), { "x.log": "seen\n" });
    file.close();
  }));

testWithTools("a log file that cannot be put aside loses none of those that were", [PRLIMIT], async () => {
  const directory = await Deno.makeTempDir({ prefix: "promptmq_rotating_" });
  const path = `${directory}/x.log`;
  await Deno.writeTextFile(`${path}.1`, "older\n");
  const file = new RotatingFile(path, 10, 2);
  file.write("old line\n");
  await withoutDescriptors(() => {
    for (let line = 0; line < 3; line++) assert.throws(() => file.write("new line\n"), /Too many open files/);
  });
  file.write("new line\n");
  file.close();
  const texts = [path, `${path}.1`, `${path}.2`].map((each) => Deno.readTextFileSync(each));
  assert.deepEqual(texts, ["new line\n", "old line\n", "older\n"]);
  assert.deepEqual(Array.from(Deno.readDirSync(directory), ({ name }) => name).sort(), ["x.log", "x.log.1", "x.log.2"]);
  await Deno.remove(directory, { recursive: true });
});

/** Runs something while this process can open no file. */
async function withoutDescriptors(run: () => void): Promise<void> {
  const limits = await Deno.readTextFile("/proc/self/limits");
  const soft = /^Max open files +(\d+)/m.exec(limits)![1];
  const limit = `"$0" --pid ${Deno.pid} --nofile`;
  const helper = new Deno.Command("sh", {
    args: ["-c", `${limit}=1: && echo lowered && read -r _; ${limit}=${soft}:`, PRLIMIT.path!],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const output = helper.stdout.getReader();
  assert.equal(new TextDecoder().decode((await output.read()).value), "lowered\n");
  try {
    run();
  } finally {
    await helper.stdin.close();
    await output.cancel();
    await helper.status;
  }
}
