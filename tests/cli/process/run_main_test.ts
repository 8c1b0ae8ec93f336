/**
 * The end of a process whose orderly stop does not come to an end.
 */

import assert from "node:assert/strict";

const MANIFEST = new URL("../../../deno.json", import.meta.url).pathname;
const STUCK_PROGRAM = new URL("./stuck_program.ts", import.meta.url).pathname;

/** Sends one signal per expected word, right after the word, and gives the exit code. */
async function stopStuckProgram(
  deadlineMs: number,
  signals: Readonly<Record<string, Deno.Signal>>,
  { then = "wait", echoMs = 0 } = {},
): Promise<number> {
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-prompt",
      "--config",
      MANIFEST,
      STUCK_PROGRAM,
      String(deadlineMs),
      String(echoMs),
      then,
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) {
    for (const word of text.trim().split("\n")) {
      const signal = signals[word];
      if (signal !== undefined) process.kill(signal);
    }
  }
  return (await process.status).code;
}

Deno.test("runMain exits with 70 when the finalizers take longer than the deadline", async () => {
  assert.equal(await stopStuckProgram(10, { ready: "SIGTERM" }), 70);
});

Deno.test("runMain exits with 70 when the finalizers after a death take longer than the deadline", async () => {
  assert.equal(await stopStuckProgram(10, {}, { then: "throw" }), 70);
});

Deno.test("runMain exits at once on a second signal", async () => {
  assert.equal(await stopStuckProgram(2_000_000_000, { ready: "SIGINT", stopping: "SIGTERM" }), 143);
  assert.equal(await stopStuckProgram(2_000_000_000, { ready: "SIGTERM", stopping: "SIGINT" }), 130);
  assert.equal(await stopStuckProgram(2_000_000_000, { ready: "SIGINT", stopping: "SIGINT" }), 130);
});

Deno.test("runMain takes the same signal twice within moments for one, as a terminal and a task send it", async () => {
  const signals = { ready: "SIGINT", stopping: "SIGINT" } as const;
  assert.equal(await stopStuckProgram(1_000, signals, { echoMs: 2_000_000_000 }), 70, "the deadline ended it");
});
