/**
 * The command line as a user sees it: this program is started as a process and judged by output and exit code.
 */

import assert from "node:assert/strict";
import manifest from "../../deno.json" with { type: "json" };
import { broker, type Outcome, runToEnd } from "./program.ts";

/** Runs with a configuration file in a directory of its own, which is also the working directory. */
async function withFile(text: string | undefined, use: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    if (text !== undefined) await Deno.writeTextFile(`${directory}/promptmq.yaml`, text);
    await use(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function ended(outcome: Outcome, code: number, stdout: string | RegExp, stderr: string | RegExp): void {
  for (const [text, expected] of [[outcome.stdout, stdout], [outcome.stderr, stderr]] as const) {
    if (typeof expected === "string") assert.equal(text, expected);
    else assert.match(text, expected);
  }
  assert.equal(outcome.code, code);
}

Deno.test("config check prints one line per mistake and exits with 78", () =>
  withFile(
    "log:\n  level: loud\nserver:\n  read-timout: 5s\nmqtt:\n  keep_alive: soon\n  max-qos: 3\ncluster: {enabled: true}\n",
    async (directory) => {
      const lines = [
        'log.level: expected trace, debug, info, warn, error or fatal, got "loud" (./promptmq.yaml:2)',
        "server.read-timout: unknown key (./promptmq.yaml:4); did you mean server.read-timeout?",
        "mqtt.keep-alive: expected whole seconds like 60, or a duration like 90s or 2h, from 0 to 65535, " +
        'got "soon" (./promptmq.yaml:6)',
        'mqtt.max-qos: expected 0, 1 or 2, got "3" (./promptmq.yaml:7)',
        "cluster.enabled: true is refused, clusters are not in this version (./promptmq.yaml:8)",
      ];
      ended(await runToEnd(["config", "check"], { cwd: directory }), 78, "", `${lines.join("\n")}\n`);
    },
  ));

Deno.test("config check accepts a good configuration and says what it checked", () =>
  withFile("mqtt: {max-qos: 1}", async (directory) => {
    const check = ["config", "check"];
    ended(await runToEnd(check, { cwd: directory }), 0, "configuration OK (./promptmq.yaml)\n", "");
    ended(await runToEnd(check), 0, "configuration OK (no file, defaults)\n", "");
    const env = { PROMPTMQ_MQTT_KEEP_ALIVE: "2m" };
    const outcome = await runToEnd([...check, "--daemon", "--max-qos", "2"], { cwd: directory, env });
    ended(outcome, 0, "configuration OK (./promptmq.yaml, 1 environment variable, 2 flags)\n", "");
  }));

Deno.test("config show --origin tells where each value comes from", () =>
  withFile("mqtt: {max-qos: 1}", async (directory) => {
    const env = { PROMPTMQ_MQTT_KEEP_ALIVE: "2m" };
    const outcome = await runToEnd(["config", "show", "--origin", "--bind", "", "--no-metrics"], {
      cwd: directory,
      env,
    });
    const lines = outcome.stdout.split("\n").map((line) => line.replace(/ +#/, " #"));
    for (
      const line of [
        'server.bind: "" # flag --bind',
        "mqtt.keep-alive: 120 # env PROMPTMQ_MQTT_KEEP_ALIVE",
        "mqtt.max-qos: 1 # ./promptmq.yaml:1",
        "metrics.enabled: false # flag --metrics",
        "log.level: info # default",
      ]
    ) assert.ok(lines.includes(line), line);
    assert.equal(outcome.code, 0);
  }));

Deno.test("the hidden file and the file in the home directory are found", () =>
  withFile(undefined, async (directory) => {
    await Deno.writeTextFile(`${directory}/.promptmq.yaml`, "mqtt: {max-qos: 0}");
    const fromHome = await runToEnd(["config", "show", "--origin"], { cwd: "/", env: { HOME: directory } });
    assert.ok(fromHome.stdout.includes(`# ${directory}/.promptmq.yaml:1\n`), fromHome.stdout);
    const fromHere = await runToEnd(["config", "show", "--origin"], { cwd: directory });
    assert.ok(fromHere.stdout.includes("# ./.promptmq.yaml:1\n"), fromHere.stdout);
  }));

Deno.test("a wrong flag value is a wrong configuration, with exit code 78 before anything starts", async () => {
  ended(
    await runToEnd(["server", "--max-qos", "7", "--storage=tape"]),
    78,
    "",
    'mqtt.max-qos: expected 0, 1 or 2, got "7" (flag --max-qos)\n' +
      'storage.mode: expected memory or disk, got "tape" (flag --storage)\n',
  );
  ended(
    await runToEnd(["--metrics=maybe"]),
    78,
    "",
    "error: metrics.enabled: expected true or false, got \"maybe\" (flag --metrics)\nsee 'promptmq --help'\n",
  );
});

Deno.test("a wrong command line is one line with the nearest word, and exit code 64", async () => {
  const mistakes: readonly (readonly [readonly string[], string])[] = [
    [["server", "--bnd", ":1"], "error: unknown flag --bnd; did you mean --bind?\nsee 'promptmq server --help'\n"],
    [["sever"], "error: unknown command \"sever\"; did you mean server?\nsee 'promptmq --help'\n"],
    [["config", "chck"], "error: unknown command \"chck\"; did you mean check?\nsee 'promptmq config --help'\n"],
  ];
  for (const [args, stderr] of mistakes) ended(await runToEnd(args), 64, "", stderr);
});

Deno.test("--version, --help and --completions answer without starting anything", async () => {
  ended(await runToEnd(["--version"]), 0, `promptmq ${manifest.version}\n`, "");
  const help = await runToEnd(["server", "--help"]);
  ended(help, 0, /--mqtt-topic-alias-max number/, "");
  assert.match(help.stdout, /--bind host:port +Address of the TCP listener/);
  for (const shell of ["bash", "zsh", "fish"]) {
    ended(await runToEnd(["--completions", shell]), 0, /ws-bind/, "");
  }
});

Deno.test("a broker starts, says when it is ready, and stops on SIGTERM or SIGINT with exit code 0", async () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    await using process = broker([]);
    await process.untilLogged("promptmq is ready");
    process.kill(signal);
    const { code, messages } = await process.untilEnd();
    assert.equal(code, 0);
    assert.equal(messages.at(-1), "promptmq has stopped");
  }
});

Deno.test("SIGHUP reloads: live keys change, restart keys are named, mistakes change nothing", () =>
  withFile("log: {level: warn}", async (directory) => {
    const path = `${directory}/promptmq.yaml`;
    await using process = broker(["--config", path], { env: { PROMPTMQ_LOG_LEVEL: "" } });
    const { code, lines } = await process.untilEnd();
    assert.equal(code, 78);
    assert.match(lines.join("\n"), /env PROMPTMQ_LOG_LEVEL/);
    await Deno.writeTextFile(path, "log: {level: info}");
    await using second = broker(["--config", path]);
    await second.untilLogged("promptmq is ready");
    await Deno.writeTextFile(path, "log: {level: info}\nmqtt: {max-qos: 1}\nmetrics: {path: /m}");
    second.kill("SIGHUP");
    assert.deepEqual((await second.untilLogged("configuration reloaded"))["applied"], ["mqtt.max-qos"]);
    assert.deepEqual((await second.untilLogged("configuration change needs a restart"))["keys"], ["metrics.path"]);
    await Deno.writeTextFile(path, "mqtt: {max-qos: 9}");
    second.kill("SIGHUP");
    const refused = await second.untilLogged("configuration reload refused");
    assert.equal(refused["problem"], `mqtt.max-qos: expected 0, 1 or 2, got "9" (${path}:1)`);
    await Deno.writeTextFile(path, "log: {level: warn}\nmqtt: {max-qos: 1}\nmetrics: {path: /m}");
    second.kill("SIGHUP");
    // Above the new level, so only the warning is seen.
    await second.untilLogged("configuration change needs a restart");
    second.kill("SIGTERM");
    const end = await second.untilEnd();
    assert.equal(end.code, 0);
    assert.notEqual(end.messages.at(-1), "promptmq has stopped");
  }));

Deno.test("a log file that cannot be opened stops the start with a reason", async () => {
  const outcome = await runToEnd(["--log-file", "/dev/null/x"]);
  ended(outcome, 73, "", /^cannot open the log file \/dev\/null\/x: /);
});
