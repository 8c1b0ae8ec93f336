/**
 * `promptmq user …` as an administrator sees it: this program is started as a process and judged by its output, its
 * exit code and what becomes of the file.
 */
import assert from "node:assert/strict";
import { parsePasswordEntries, PASSWORD_FILE_CHARS_MAX } from "../../../src/auth/password/password_entries.ts";
import { withoutUser, withUser } from "../../../src/cli/user/user_file.ts";
import { fileModeOf } from "../../../src/system/watched_file.ts";
import { childEnvironment } from "../../support/child_environment.ts";
import { within } from "../../support/event_queue.ts";
import { findTool, runTool, testWithTools, type Tool } from "../../support/tools.ts";
import { type Outcome, runToEnd } from "../program.ts";

const MAIN = new URL("../../../src/main.ts", import.meta.url).pathname;
const MANIFEST = new URL("../../../deno.json", import.meta.url).pathname;
const PERMISSIONS = ["--allow-net", "--allow-read", "--allow-write", "--allow-env", "--allow-sys"];
const ARGUMENTS = ["run", "--quiet", "--no-prompt", ...PERMISSIONS, "--config", MANIFEST, MAIN, "user"];

/** Runs a command with a password on its standard input. */
async function user(args: readonly string[], input: string | Uint8Array<ArrayBuffer>): Promise<Outcome> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...ARGUMENTS, ...args],
    cwd: "/",
    clearEnv: true,
    env: childEnvironment(),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const [output] = await Promise.all([
    child.output(),
    // A program that does not read its input to the end closes it.
    new Blob([input]).stream().pipeTo(child.stdin).catch(() => undefined),
  ]);
  const decoder = new TextDecoder();
  return { code: output.code, stdout: decoder.decode(output.stdout), stderr: decoder.decode(output.stderr) };
}

function add(path: string, username: string, password: string, ...flags: readonly string[]): Promise<Outcome> {
  return user(["add", path, username, "--password-stdin", ...flags], `${password}\n`);
}

function verify(path: string, username: string, password: string): Promise<Outcome> {
  return user(["verify", path, username, "--password-stdin"], password);
}

/** Runs with a directory of its own. */
async function withDirectory(use: (path: string, directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await use(`${directory}/users`, directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Some user that need not exist. */
const OTHER_USER = 54_321;

const HASH = `$scrypt$ln=10,r=8,p=1$dHdlbHZlIGJ5dGVz$${"A".repeat(43)}`;

Deno.test("user add makes a file for its owner only, and verify tells right from wrong", () =>
  withDirectory(async (path, directory) => {
    const added = await add(path, "alice", "s\u00E9cret");
    assert.deepEqual(added, { code: 0, stdout: 'added "alice" (scrypt)\n', stderr: "" });
    assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
    const text = Deno.readTextFileSync(path);
    assert.match(text, /^alice:\$scrypt\$ln=15,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}\n$/);
    const right = { code: 0, stdout: "the password is right\n", stderr: "" };
    assert.deepEqual(await verify(path, "alice", "s\u00E9cret"), right);
    assert.deepEqual(await verify(path, "alice", "s\u00E9cret\r\n"), right);
    const wrong = { code: 1, stdout: "", stderr: 'wrong password for "alice"\n' };
    assert.deepEqual(await verify(path, "alice", "secret"), wrong);
    assert.deepEqual(await verify(path, "alice", "s\u00E9cret\n\n"), wrong);
    const unknown = { code: 1, stdout: "", stderr: `no user "bob" in ${path}\n` };
    assert.deepEqual(await verify(path, "bob", "s\u00E9cret"), unknown);
    assert.deepEqual(Array.from(Deno.readDirSync(directory), ({ name }) => name), ["users"]);
  }));

Deno.test("user add --scram stores a verifier, and --groups the groups, which another password does not change", () =>
  withDirectory(async (path) => {
    const added = await add(path, "alice", "pencil", "--scram", "--groups", "ops,admins");
    assert.deepEqual(added, { code: 0, stdout: 'added "alice" (scram-sha-256)\n', stderr: "" });
    assert.match(Deno.readTextFileSync(path), /^alice:\$scram-sha-256\$i=16384\$[^:$]+\$[^:$]+\$[^:$]+:ops,admins\n$/);
    assert.equal((await verify(path, "alice", "pencil")).code, 0);
    const changed = await add(path, "alice", "other");
    assert.deepEqual(changed, { code: 0, stdout: 'changed "alice" (scrypt)\n', stderr: "" });
    assert.match(Deno.readTextFileSync(path), /^alice:\$scrypt\$[^:]+:ops,admins\n$/);
    assert.equal((await verify(path, "alice", "pencil")).code, 1);
    assert.equal((await verify(path, "alice", "other")).code, 0);
    assert.equal((await add(path, "alice", "other", "--groups", ",")).code, 0);
    assert.match(Deno.readTextFileSync(path), /^alice:\$scrypt\$[^:]+\n$/);
  }));

Deno.test("user add and remove keep comments, the order, other lines, permissions, and what a link names", () =>
  withDirectory(async (path, directory) => {
    const [bob, carol] = [`bob:${HASH}:x`, `carol:${HASH}`];
    Deno.writeTextFileSync(`${directory}/real`, `# first\r\n${bob}\n\n# alice:old\n${carol}`);
    Deno.chmodSync(`${directory}/real`, 0o640);
    Deno.symlinkSync("real", path);
    assert.equal((await add(path, "bob", "new")).code, 0);
    assert.equal((await add(path, "alice", "new")).code, 0);
    const lines = Deno.readTextFileSync(path).split("\n");
    assert.deepEqual(lines.map((line) => line.replace(/\$scrypt\$ln=15.*?(?=:|$)/, "NEW")), [
      ..."# first\r,bob:NEW:x,,# alice:old".split(","),
      carol,
      "alice:NEW",
      "",
    ]);
    const removed = await runToEnd(["user", "remove", path, "bob"]);
    assert.deepEqual(removed, { code: 0, stdout: 'removed "bob"\n', stderr: "" });
    assert.deepEqual(Deno.readTextFileSync(path).split("\n"), lines.filter((line) => !line.startsWith("bob:")));
    assert.equal(Deno.lstatSync(path).isSymlink, true);
    assert.equal(fileModeOf(path)! & 0o777, 0o640);
    assert.deepEqual(Array.from(Deno.readDirSync(directory), ({ name }) => name).sort(), ["real", "users"]);
  }));

Deno.test("user list shows names, kinds and groups, and no hashes", () =>
  withDirectory(async (path) => {
    const pbkdf2 = `$7$101$dHdlbHZlIGJ5dGVz$${"A".repeat(86)}==`;
    Deno.writeTextFileSync(path, `# all\nthe gateway:${HASH}\nbob:${pbkdf2}:a,b\n`);
    const listed = await runToEnd(["user", "list", path]);
    assert.deepEqual(listed, { code: 0, stdout: "the gateway\tscrypt\nbob\tpbkdf2-sha512\ta,b\n", stderr: "" });
    Deno.writeTextFileSync(path, "");
    assert.deepEqual(await runToEnd(["user", "list", path]), { code: 0, stdout: "", stderr: "" });
  }));

Deno.test("user commands report a file with problems by line, and add repairs one line at a time", () =>
  withDirectory(async (path) => {
    Deno.writeTextFileSync(path, "alice:hunter2\nbob:hunter2\nalice:hunter3\n");
    const problem = "the password is not hashed; set it again with promptmq user add";
    const listed = await runToEnd(["user", "list", path]);
    const all = [1, 2, 3].map((line) => `${path}:${line}: ${problem}\n`).join("");
    assert.deepEqual(listed, { code: 78, stdout: "", stderr: all });
    const first = await add(path, "alice", "one");
    assert.deepEqual(first, {
      code: 0,
      stdout: 'changed "alice" (scrypt)\n',
      stderr: `warning: ${path}:2: ${problem}\n`,
    });
    assert.deepEqual(await add(path, "bob", "two"), { code: 0, stdout: 'changed "bob" (scrypt)\n', stderr: "" });
    assert.equal(parsePasswordEntries(path, Deno.readTextFileSync(path)).byName.size, 2);
  }));

Deno.test("user commands refuse what cannot be, with the exit codes of sysexits, and leave the file as it is", () =>
  withDirectory(async (path, directory) => {
    const text = `bob:${HASH}\n`;
    Deno.writeTextFileSync(path, text);
    const expect = async (outcome: Promise<Outcome>, code: number, stderr: RegExp) => {
      const { stderr: told, ...rest } = await outcome;
      assert.deepEqual(rest, { code, stdout: "" }, told);
      assert.match(told, stderr);
      assert.equal(Deno.readTextFileSync(path), text);
    };
    await expect(add(path, "a:b", "x"), 64, /^the username has a colon/);
    await expect(add(path, "\uFF21", "x", "--scram"), 64, /^SASLprep would change the username/);
    await expect(add(path, "bob", "x", "--groups", "a b"), 64, /^--groups: /);
    await expect(user(["add", path, "bob"], "x\n"), 64, /^standard input is not a terminal; give --password-stdin/);
    await expect(user(["verify", path, "bob"], "x\n"), 64, /^standard input is not a terminal/);
    await expect(add(path, "bob", ""), 65, /^the password is empty/);
    await expect(add(path, "bob", "x".repeat(65_536)), 65, /^the password is longer than 65535 bytes/);
    await expect(
      user(["add", path, "bob", "--password-stdin", "--scram"], Uint8Array.of(0xff)),
      65,
      /^SASLprep does not/,
    );
    const absent = `${directory}/none`;
    for (const command of [["remove", absent, "bob"], ["list", absent], ["verify", absent, "bob"]]) {
      await expect(user(command, ""), 66, /^cannot read the password file .*\/none: not found/);
    }
    await expect(user(["remove", path, "eve"], ""), 67, /^no user "eve" in /);
    await expect(
      add(`${absent}/users`, "bob", "x"),
      73,
      /^cannot write the password file .*: its directory is not found/,
    );
    await expect(user(["add", path], ""), 64, /username/);
  }));

Deno.test("user commands take a file for unreadable that is no UTF-8, or too long", () =>
  withDirectory(async (path) => {
    Deno.writeFileSync(path, Uint8Array.of(0x61, 0xff, 0x3a));
    const add1 = await add(path, "bob", "x");
    assert.deepEqual([add1.code, add1.stderr], [66, `cannot read the password file ${path}: it is not UTF-8\n`]);
    Deno.writeFileSync(path, new Uint8Array(PASSWORD_FILE_CHARS_MAX + 1));
    assert.equal((await runToEnd(["user", "list", path])).code, 66);
  }));

Deno.test("a user's line takes the place of all that it had, and leaves when it is removed", () => {
  assert.equal(withUser("", "a", "a:1"), "a:1\n");
  assert.equal(withUser("b:1", "a", "a:1"), "b:1\na:1\n");
  assert.equal(withUser("a:0\nb:1\na:2\n#a:3\n", "a", "a:9"), "a:9\nb:1\n#a:3\n");
  assert.equal(withUser("\n\n", "a", "a:1"), "\n\na:1\n");
  assert.equal(withoutUser("a:0\nb:1\na:2\n#a:3\n", "a"), "b:1\n#a:3\n");
  assert.equal(withoutUser("a:0", "a"), "");
  assert.equal(withoutUser("#a:0\nA:1\n", "a"), undefined);
});

/** The right to give a file to another user, which root has: tried once. */
function findRightToGiveAway(): Tool {
  const path = Deno.makeTempFileSync({ prefix: "promptmq_owner_" });
  try {
    Deno.chownSync(path, OTHER_USER, OTHER_USER);
    return { name: "chown", path };
  } catch (error) {
    if (!(error instanceof Deno.errors.PermissionDenied) && !(error instanceof Deno.errors.NotSupported)) throw error;
    return { name: "the right to give a file to another user", path: undefined, isRight: true };
  } finally {
    Deno.removeSync(path);
  }
}

testWithTools(
  "user add keeps the owner of a file, so that the broker can still read it",
  [findRightToGiveAway()],
  () =>
    withDirectory(async (path) => {
      Deno.writeTextFileSync(path, "", { mode: 0o600 });
      Deno.chownSync(path, OTHER_USER, OTHER_USER);
      assert.equal((await add(path, "alice", "one")).code, 0);
      const { uid, gid, mode, size } = Deno.statSync(path);
      assert.deepEqual([uid, gid, mode! & 0o777], [OTHER_USER, OTHER_USER, 0o600]);
      assert(size > 0);
    }),
);

const MOSQUITTO_PASSWD = findTool("mosquitto_passwd");

testWithTools(
  "user commands work on a file of mosquitto_passwd",
  [MOSQUITTO_PASSWD],
  () =>
    withDirectory(async (path) => {
      assert.equal((await runTool(MOSQUITTO_PASSWD, ["-c", "-b", path, "alice", "one"])).code, 0);
      assert.equal((await verify(path, "alice", "one")).code, 0);
      assert.equal((await verify(path, "alice", "two")).code, 1);
      assert.equal((await add(path, "bob", "two")).code, 0);
      const listed = await runToEnd(["user", "list", path]);
      assert.equal(listed.stdout, "alice\tpbkdf2-sha512\nbob\tscrypt\n");
    }),
);

/** `script` gives a program a terminal and passes on what is typed and shown. */
const SCRIPT = Deno.build.os === "linux" ? findTool("script") : { name: "script of util-linux", path: undefined };

/** Types each answer when its question is shown; gives all that the terminal showed, and the exit code. */
async function atTerminal(args: readonly string[], answers: readonly (readonly [question: string, typed: string])[]) {
  const quoted = [Deno.execPath(), ...ARGUMENTS, ...args].map((word) => `'${word}'`).join(" ");
  const child = new Deno.Command(SCRIPT.path!, {
    args: ["--quiet", "--return", "--flush", "--command", quoted, "/dev/null"],
    cwd: "/",
    clearEnv: true,
    env: { ...childEnvironment(), SHELL: "/bin/sh" },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  const waiting = [...answers];
  let shown = "";
  const reading = (async () => {
    let from = 0;
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      shown += text;
      const at = waiting[0] === undefined ? -1 : shown.indexOf(waiting[0][0], from);
      if (at === -1) continue;
      const [question, typed] = waiting.shift()!;
      from = at + question.length;
      await writer.write(new TextEncoder().encode(typed));
    }
    return (await child.status).code;
  })();
  const code = await within(reading, "the terminal session to end");
  await writer.close().catch(() => undefined);
  return { code, shown, unasked: waiting.length };
}

testWithTools(
  "user add asks a terminal twice and shows nothing of what is typed",
  [SCRIPT],
  () =>
    withDirectory(async (path) => {
      const added = await atTerminal(["add", path, "alice"], [
        ["Password: ", "wrong\u0015s\u00E9cree\u00E9\u007F\u007Ft\r"],
        ["Password again: ", "s\u00E9cret\r"],
      ]);
      assert.equal(added.shown.replaceAll("\r", ""), 'Password: \nPassword again: \nadded "alice" (scrypt)\n');
      assert.deepEqual([added.code, added.unasked], [0, 0]);
      assert.equal((await verify(path, "alice", "s\u00E9cret")).code, 0);
      const right = await atTerminal(["verify", path, "alice"], [["Password: ", "s\u00E9cret\r"]]);
      assert.deepEqual([right.code, right.shown.replaceAll("\r", "")], [0, "Password: \nthe password is right\n"]);
    }),
);

testWithTools(
  "user add changes nothing when the passwords differ or Ctrl-C is typed",
  [SCRIPT],
  () =>
    withDirectory(async (path) => {
      const differing = await atTerminal(["add", path, "alice"], [["Password: ", "one\r"], [
        "Password again: ",
        "two\r",
      ]]);
      assert.equal(differing.code, 65);
      assert.match(differing.shown, /the passwords are not the same/);
      const cancelled = await atTerminal(["add", path, "alice"], [["Password: ", "on\u0003"]]);
      assert.deepEqual([cancelled.code, cancelled.shown.replaceAll("\r", "")], [130, "Password: \ncancelled\n"]);
      assert.equal(fileModeOf(path), undefined);
    }),
);
