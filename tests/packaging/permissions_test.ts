/**
 * The service of systemd and the container image: that both are well-formed and give the broker the same, few rights.
 */

import assert from "node:assert/strict";
import { findTool, runTool, testWithTools } from "../support/tools.ts";

const ROOT = new URL("../../", import.meta.url);
const SERVICE = Deno.readTextFileSync(new URL("examples/promptmq.service", ROOT));
const DOCKERFILE = Deno.readTextFileSync(new URL("Dockerfile", ROOT));
const ANALYZE = findTool("systemd-analyze");

/** Exposure as systemd counts it, 0 to 100; what is left is above all that a broker has a network. */
const EXPOSURE_MAX = 20;

/** Lines of the service that say something, with continued lines joined. */
function settings(): readonly string[] {
  return SERVICE.replaceAll(/^#.*\n/gm, "").replaceAll(/\\\n\s*/g, "").split("\n");
}

function valuesOf(name: string): readonly string[] {
  return settings().filter((line) => line.startsWith(`${name}=`)).map((line) => line.slice(name.length + 1));
}

/** The permissions that a command line of Deno gives, by name, each with its words in order. */
function permissionsIn(words: readonly string[]): Map<string, readonly string[]> {
  return new Map(
    words.filter((word) => /^--(?:allow|deny|no|ignore|unstable)-/.test(word)).map((word) => {
      const [name, value = ""] = word.split("=", 2);
      return [name!, value.split(",").filter((part) => part !== "").sort()];
    }),
  );
}

function servicePermissions() {
  const [command] = valuesOf("ExecStart");
  return permissionsIn(command!.split(/\s+/));
}

function imagePermissions() {
  const entryPoint = DOCKERFILE.slice(DOCKERFILE.indexOf("ENTRYPOINT"), DOCKERFILE.indexOf("\nCMD"));
  return permissionsIn([...entryPoint.matchAll(/"([^"]*)"/g)].map((match) => match[1]!));
}

Deno.test("service and image give the broker the same permissions, apart from the folder of the socket", () => {
  const [service, image] = [servicePermissions(), imagePermissions()];
  assert.ok(service.size >= 9);
  for (const name of ["--allow-read", "--allow-write"]) {
    service.set(name, service.get(name)!.filter((path) => path !== "/run/promptmq"));
  }
  assert.deepEqual(service, image);
});

Deno.test("neither service nor image may run programs, or write what the broker is configured with", () => {
  for (const permissions of [servicePermissions(), imagePermissions()]) {
    const names = [...permissions.keys()];
    assert.ok(names.every((name) => !/^--allow-(?:all|run|ffi|import)$/.test(name)), names.join());
    for (const path of permissions.get("--allow-write")!) assert.ok(!path.startsWith("/etc"), path);
    for (const name of ["--allow-read", "--allow-write", "--allow-env", "--allow-sys"]) {
      assert.ok(permissions.get(name)!.length > 0, `${name} is not limited`);
    }
  }
});

Deno.test("the image exposes the default ports of all listeners and of metrics", () => {
  const [, ports] = /^EXPOSE (.*)$/m.exec(DOCKERFILE)!;
  assert.deepEqual(ports!.split(" ").map(Number).sort((a, b) => a - b), [1883, 8080, 8084, 8883, 9090]);
});

Deno.test("the service lets V8 compile, and reads keys where they can change", () => {
  assert.deepEqual(valuesOf("MemoryDenyWriteExecute"), ["no"]);
  assert.deepEqual(valuesOf("LoadCredential"), []);
});

/** Checks a copy of the service with the Deno of this machine, since systemd looks whether the program is there. */
async function analyze(args: readonly string[]): Promise<string> {
  const directory = await Deno.makeTempDir({ prefix: "promptmq_service_" });
  try {
    const path = `${directory}/promptmq.service`;
    await Deno.writeTextFile(path, SERVICE.replaceAll("/usr/local/bin/deno", Deno.execPath()));
    const { code, stdout, stderr } = await runTool(ANALYZE, [...args, path]);
    assert.equal(code, 0, stdout + stderr);
    return stdout + stderr;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

testWithTools("systemd finds nothing wrong with the service", [ANALYZE], async () => {
  const output = await analyze(["verify"]);
  assert.doesNotMatch(output, /promptmq\.service/);
});

testWithTools("systemd counts the service as little exposed", [ANALYZE], async () => {
  const output = await analyze(["security", "--no-pager", "--offline=true", `--threshold=${EXPOSURE_MAX}`]);
  assert.match(output, /Overall exposure level/);
});
