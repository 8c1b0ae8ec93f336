/**
 * The background process and its PID file.
 */

import assert from "node:assert/strict";
import { withoutDaemonFlag } from "../../../src/cli/process/daemon.ts";
import { broker, runToEnd } from "../program.ts";

async function withDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await use(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Resolves when the condition holds, looked at now and after every event the watcher reports. */
async function untilFile(watcher: Deno.FsWatcher, isThere: () => boolean): Promise<void> {
  // Not `for await`: leaving such a loop closes the watcher.
  const events = watcher[Symbol.asyncIterator]();
  while (!isThere()) assert.notEqual((await events.next()).done, true);
}

function readIfPresent(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

Deno.test("withoutDaemonFlag takes out every spelling of the flag and nothing else", () => {
  const cases: readonly (readonly [readonly string[], readonly string[]])[] = [
    [["server", "--daemon", "--bind", ":1"], ["server", "--bind", ":1"]],
    [["--daemon=true", "-c", "true"], ["-c", "true"]],
    [["--daemon", "yes", "--metrics"], ["--metrics"]],
    [["--no-metrics"], ["--no-metrics"]],
  ];
  for (const [args, expected] of cases) assert.deepEqual(withoutDaemonFlag(args), expected);
});

Deno.test("--daemon prints the process id of a broker that goes on and obeys SIGTERM", () =>
  withDirectory(async (directory) => {
    using watcher = Deno.watchFs(directory);
    const [pidFile, logFile] = [`${directory}/x.pid`, `${directory}/x.log`];
    const outcome = await runToEnd([
      ...["--daemon", "--pid-file", pidFile, "--log-file", logFile],
      ...["--bind", "127.0.0.1:0", "--ws-bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"],
      ...["--data-dir", `${directory}/data`],
    ], { permissions: ["-A"] });
    assert.equal(outcome.code, 0, outcome.stderr);
    const pid = Number(outcome.stdout.trim());
    await untilFile(watcher, () => readIfPresent(logFile).includes('"msg":"promptmq is ready"'));
    assert.equal(Deno.readTextFileSync(pidFile), `${pid}\n`);
    Deno.kill(pid, "SIGTERM");
    await untilFile(watcher, () => readIfPresent(logFile).includes('"msg":"promptmq has stopped"'));
    assert.equal(readIfPresent(pidFile), "");
  }));

Deno.test("--daemon without the permission to run says so", async () => {
  const outcome = await runToEnd(["--daemon", "--log-file", "/nonexistent/x.log"]);
  assert.equal(
    outcome.stderr,
    "cannot start in the background: the permission to start programs is missing; " +
      "run it with deno run -A src/main.ts --daemon\n",
  );
  assert.equal(outcome.code, 71);
});

Deno.test("a PID file keeps a second broker out while the first lives, and a stale one is taken over", () =>
  withDirectory(async (directory) => {
    const pidFile = `${directory}/x.pid`;
    await Deno.writeTextFile(pidFile, `${Deno.pid}\nleft over`);
    await using first = broker(["--pid-file", pidFile]);
    await first.untilLogged("promptmq is ready");
    const pid = Deno.readTextFileSync(pidFile);
    assert.match(pid, /^\d+\n$/);
    await using second = broker(["--pid-file", pidFile]);
    const failure = await second.untilLogged("promptmq has failed");
    assert.equal(failure["error"], `cannot take the PID file ${pidFile}: process ${pid.trim()} is running with it`);
    assert.equal(failure["cause"], undefined);
    assert.equal((await second.untilEnd()).code, 73);
    assert.equal(Deno.readTextFileSync(pidFile), pid);
    first.kill("SIGTERM");
    assert.equal((await first.untilEnd()).code, 0);
    assert.equal(readIfPresent(pidFile), "");
  }));
