/**
 * The text of a password file: who is in it, and what is wrong with it, by line and without showing passwords.
 */
import assert from "node:assert/strict";
import {
  LINE_CHARS_MAX,
  parsePasswordEntries,
  PASSWORD_FILE_CHARS_MAX,
  problemOfUsername,
  PROBLEMS_MAX,
  usernameOfLine,
  USERS_MAX,
} from "../../../src/auth/password/password_entries.ts";

const HASH = `$scrypt$ln=10,r=8,p=1$dHdlbHZlIGJ5dGVz$${"A".repeat(43)}`;

function problemsOf(text: string): readonly string[] {
  return parsePasswordEntries("users", text).problems;
}

Deno.test("password file gives users with groups, past comments, empty lines and what editors add", () => {
  const text = `\u{FEFF}alice:${HASH}\r\n# bob:secret\n\n  # more\nAlice:${HASH}:admins,ops\nthe gateway:${HASH}:  \n`;
  const { byName, problems } = parsePasswordEntries("users", text);
  assert.deepEqual(problems, []);
  assert.deepEqual(Array.from(byName.values(), ({ username, groups }) => [username, groups]), [
    ["alice", []],
    ["Alice", ["admins", "ops"]],
    ["the gateway", []],
  ]);
  assert.equal(byName.get("Alice")!.line, `Alice:${HASH}:admins,ops`);
});

Deno.test("password file without users is good", () => {
  assert.deepEqual(parsePasswordEntries("users", ""), { byName: new Map(), problems: [] });
});

const BAD: readonly (readonly [line: string, problem: string])[] = [
  ["hunter2", "expected username:hash"],
  ["bob:hunter2", "the password is not hashed; set it again with promptmq user add"],
  ["bob:", "the password is not hashed; set it again with promptmq user add"],
  ["bob:hunter2:admins:x", "more fields than username:hash:groups"],
  [`:${HASH}`, "the username is empty"],
  [` bob:${HASH}`, "the username begins or ends with white space"],
  [`bob\u0007:${HASH}`, "the username has characters that cannot be printed, or is not UTF-8"],
  [`${"b".repeat(1025)}:${HASH}`, "the username is longer than 1024 characters"],
  [`b:${HASH}:a,,b`, "a group is 1 to 128 characters without white space, comma and colon"],
  [`b:${HASH}:a, b`, "a group is 1 to 128 characters without white space, comma and colon"],
  [`b:${HASH}:${"g".repeat(129)}`, "a group is 1 to 128 characters without white space, comma and colon"],
  [`b:${HASH}:${Array.from({ length: 65 }, (_, i) => i).join()}`, "more than 64 groups"],
  [`b:${HASH}:${"g,".repeat(LINE_CHARS_MAX)}`, `longer than ${LINE_CHARS_MAX} characters`],
  [`alice:${HASH}`, 'user "alice" is in line 1 already'],
];

Deno.test("password file tells what is wrong by line number and shows no password", () => {
  for (const [line, problem] of BAD) {
    const { problems } = parsePasswordEntries("users", `alice:${HASH}\n${line}\n`);
    assert.deepEqual(problems, [`users:2: ${problem}`], line);
    assert(!problems.join().includes("hunter2"));
  }
});

Deno.test("password file tells the first problems and how many more there are", () => {
  assert.equal(problemsOf("x\n".repeat(PROBLEMS_MAX)).length, PROBLEMS_MAX);
  const problems = problemsOf("x\n".repeat(PROBLEMS_MAX + 7));
  assert.equal(problems.length, PROBLEMS_MAX + 1);
  assert.equal(problems.at(-1), "users: and 7 more problems");
});

Deno.test("password file is bounded in users and size", () => {
  const full = Array.from({ length: USERS_MAX }, (_, i) => `u${i}:${HASH}`).join("\n");
  assert.deepEqual(problemsOf(full), []);
  assert.deepEqual(problemsOf(`${full}\nbob:${HASH}`), [`users:${USERS_MAX + 1}: more than ${USERS_MAX} users`]);
  assert.deepEqual(problemsOf("#".repeat(PASSWORD_FILE_CHARS_MAX + 1)), [
    `users: longer than ${PASSWORD_FILE_CHARS_MAX} characters`,
  ]);
});

Deno.test("usernames for the file are judged before they are written", () => {
  for (const good of ["alice", "the gateway", "a#b", "\u00FCser", "a,b=c"]) {
    assert.equal(problemOfUsername(good), undefined);
  }
  for (const bad of ["", "a:b", "#a", " a", "a\n", "a\nb", "\uD800", "b".repeat(1025)]) {
    assert.notEqual(problemOfUsername(bad), undefined, JSON.stringify(bad));
  }
});

Deno.test("usernameOfLine finds the user of a line whatever follows, and none in comments", () => {
  assert.equal(usernameOfLine("bob:plain:text", 3), "bob");
  assert.equal(usernameOfLine("\u{FEFF}bob:x", 0), "bob");
  for (const line of ["# bob:x", "bob", "", "  "]) assert.equal(usernameOfLine(line, 1), undefined);
});
