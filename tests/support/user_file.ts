/**
 * Password files as their owners make them: with `promptmq user add`, and with the tool of mosquitto.
 */
import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import { formatPasswordHash } from "../../src/auth/password/password_hash.ts";
import { makeScramVerifier } from "../../src/auth/password/password_hasher.ts";
import { childEnvironment } from "./child_environment.ts";
import { findTool, runTool } from "./tools.ts";

/** Makes password files for mosquitto; tests name it with `testWithTools`. */
export const MOSQUITTO_PASSWD = findTool("mosquitto_passwd");

const ROOT = new URL("../../", import.meta.url);

/** Runs a command of the broker's program, such as `user add`, and demands success. @returns Its standard output. */
export async function runCommand(args: readonly string[], input = ""): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-prompt", "-A", "--config", new URL("deno.json", ROOT).pathname],
      ...[new URL("src/main.ts", ROOT).pathname, ...args],
    ],
    clearEnv: true,
    env: childEnvironment(),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Adds users with `promptmq user add --password-stdin`. @param flags Such as `--scram`. */
export async function addUser(path: string, username: string, password: string, ...flags: readonly string[]) {
  await runCommand(["user", "add", ...flags, "--password-stdin", path, username], `${password}\n`);
}

/** Makes a file with one user by `mosquitto_passwd`. */
export async function makeMosquittoFile(path: string, username: string, password: string): Promise<void> {
  const { code, stderr } = await runTool(MOSQUITTO_PASSWD, ["-c", "-b", path, username, password]);
  assert.equal(code, 0, stderr);
}

/** A password file for tests that are about something else, with hashes that are made quickly. */
export async function quickUserFile(passwords: Readonly<Record<string, string>>): Promise<string> {
  const lines = Object.entries(passwords).map(async ([username, password]) => {
    const verifier = await Effect.runPromise(makeScramVerifier(new TextEncoder().encode(password), QUICK_ITERATIONS));
    return `${username}:${formatPasswordHash(verifier!)}\n`;
  });
  return (await Promise.all(lines)).join("");
}

const QUICK_ITERATIONS = 4096;
