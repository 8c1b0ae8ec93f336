/**
 * The text of a password file: one user per line, `username:hash`, or `username:hash:group1,group2`.
 *
 * Empty lines and lines whose first character that is no white space is `#` are skipped. Usernames are compared byte by
 * byte, as they come in CONNECT: no folding of case, no Unicode normalization. What is wrong is told by line number;
 * what stands there is not shown, since it may well be a password, except for names of lines that are otherwise right.
 */
import { HashProblem, parsePasswordHash, type PasswordHash } from "./password_hash.ts";

/** One user. */
export interface PasswordEntry {
  readonly username: string;
  readonly hash: PasswordHash;
  readonly groups: readonly string[];
  /** The line as it stands in the file: two entries with the same one are the same. */
  readonly line: string;
}

/** What a file says, and what is wrong with it. */
export interface PasswordEntries {
  /** In the order of the file; only of use when there are no problems. */
  readonly byName: ReadonlyMap<string, PasswordEntry>;
  /** At most `PROBLEMS_MAX` lines `file:line: …`, and one that counts the rest. */
  readonly problems: readonly string[];
}

/** Characters of a whole file. */
export const PASSWORD_FILE_CHARS_MAX = 16 * 1024 * 1024;
/** Users of one file. Reading as many takes a third of a second, in which the broker does nothing else. */
export const USERS_MAX = 50_000;
/** Characters of one line. */
export const LINE_CHARS_MAX = 4096;
/** Characters of a username. */
export const USERNAME_CHARS_MAX = 1024;
/** Groups of one user, and characters of one group. */
export const GROUPS_MAX = 64;
const GROUP_CHARS_MAX = 128;
/** Problems that are told. */
export const PROBLEMS_MAX = 10;

/**
 * Reads a whole file. O(length).
 *
 * @param path For the problems.
 */
export function parsePasswordEntries(path: string, text: string): PasswordEntries {
  const byName = new Map<string, PasswordEntry>();
  if (text.length > PASSWORD_FILE_CHARS_MAX) {
    return { byName, problems: [`${path}: longer than ${PASSWORD_FILE_CHARS_MAX} characters`] };
  }
  const problems: string[] = [];
  let problemCount = 0;
  const lines = text.split("\n");
  const lineOfName = new Map<string, number>();
  for (let i = 0; i < lines.length; i++) {
    const line = lineContent(lines[i]!, i);
    if (isSkipped(line)) continue;
    let entry = parseEntry(line);
    if (typeof entry !== "string" && byName.has(entry.username)) {
      entry = `user ${JSON.stringify(entry.username)} is in line ${lineOfName.get(entry.username)} already`;
    } else if (typeof entry !== "string" && byName.size === USERS_MAX) entry = `more than ${USERS_MAX} users`;
    if (typeof entry === "string") {
      if (problemCount++ < PROBLEMS_MAX) problems.push(`${path}:${i + 1}: ${entry}`);
    } else {
      byName.set(entry.username, entry);
      lineOfName.set(entry.username, i + 1);
    }
  }
  if (problemCount > PROBLEMS_MAX) problems.push(`${path}: and ${problemCount - PROBLEMS_MAX} more problems`);
  return { byName, problems };
}

/** The username of one line of a file, whatever follows it; undefined when the line is of no user. */
export function usernameOfLine(line: string, index: number): string | undefined {
  const content = lineContent(line, index);
  const end = content.indexOf(":");
  return end === -1 || isSkipped(content) ? undefined : content.slice(0, end);
}

/** @returns What is wrong with a name for a line of the file, completing "the username …", or undefined. */
export function problemOfUsername(username: string): string | undefined {
  if (username === "") return "is empty";
  if (username.length > USERNAME_CHARS_MAX) return `is longer than ${USERNAME_CHARS_MAX} characters`;
  if (username.includes(":")) return "has a colon, which ends a username in the file";
  if (username.startsWith("#")) return "begins with #, which makes the line a comment";
  if (username.trim() !== username) return "begins or ends with white space";
  return UNPRINTABLE.test(username) ? "has characters that cannot be printed, or is not UTF-8" : undefined;
}

/** @returns What is wrong with the groups of a user, or undefined. */
export function problemOfGroups(groups: readonly string[]): string | undefined {
  if (groups.length > GROUPS_MAX) return `more than ${GROUPS_MAX} groups`;
  if (groups.every((group) => GROUP.test(group) && group.length <= GROUP_CHARS_MAX)) return undefined;
  return `a group is 1 to ${GROUP_CHARS_MAX} characters without white space, comma and colon`;
}

function parseEntry(line: string): PasswordEntry | string {
  if (line.length > LINE_CHARS_MAX) return `longer than ${LINE_CHARS_MAX} characters`;
  const fields = line.split(":");
  if (fields.length < 2) return "expected username:hash";
  if (fields.length > 3) return "more fields than username:hash:groups";
  const [username, hashText, groupsText] = fields;
  const problem = problemOfUsername(username!);
  if (problem !== undefined) return `the username ${problem}`;
  const hash = parsePasswordHash(hashText!);
  if (hash instanceof HashProblem) return hash.text;
  const groups = groupsText === undefined || groupsText === "" ? NO_GROUPS : groupsText.split(",");
  return problemOfGroups(groups) ?? { username: username!, hash, groups, line };
}

/** A line without what editors add to it: a mark at the start of the file, white space at the end. */
function lineContent(line: string, index: number): string {
  const end = line.trimEnd();
  return index === 0 && end.startsWith("\u{FEFF}") ? end.slice(1) : end;
}

function isSkipped(content: string): boolean {
  return /^\s*(?:#|$)/.test(content);
}

const NO_GROUPS: readonly string[] = [];
/** Control characters, surrogates, and what a decoder makes of bytes that are not UTF-8. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u{2028}\u{2029}\u{FFFD}]/u;
const GROUP = /^[^\s,:\p{Cc}\u{FFFD}]+$/u;
