/**
 * The two forms of a log line: JSON for machines, text for people. Pure: the time is an argument.
 *
 *     {"ts":"2026-01-02T03:04:05.678Z","level":"info","msg":"session opened","clientId":"c1"}
 *     03:04:05.678 INFO  session opened clientId=c1
 *
 * Values come from clients, so text is escaped: no value can start a line of its own or move the cursor.
 */

/** What varies in a message, by fixed names. `ts`, `level` and `msg` belong to the line itself. */
export type Fields = Readonly<Record<string, unknown>> & {
  readonly ts?: never;
  readonly level?: never;
  readonly msg?: never;
};

/** Renders one line with its line feed. */
export type LineFormat = (timeMs: number, level: string, message: string, fields: Fields | undefined) => string;

/** One JSON object per line, `ts`, `level` and `msg` first. Undefined fields are left out, big integers are strings, errors their message. */
export const renderJson: LineFormat = (timeMs, level, message, fields) => {
  const line = { ts: new Date(timeMs).toISOString(), level, msg: message };
  return `${stringify(fields === undefined ? line : { ...line, ...fields, ...line })}\n`;
};

/**
 * Time of day in UTC, level, message and `name=value` pairs. The field `cause` is long and goes on indented lines.
 *
 * @param isColored Colours the level for a terminal.
 */
export function renderConsole(
  timeMs: number,
  level: string,
  message: string,
  fields: Fields | undefined,
  isColored: boolean,
): string {
  const word = level.toUpperCase().padEnd(5);
  const shown = isColored ? `\x1b[${COLORS[level] ?? "0"}m${word}\x1b[0m` : word;
  let line = `${new Date(timeMs).toISOString().slice(11, 23)} ${shown} ${escapeControls(message)}`;
  let cause = "";
  for (const name in fields) {
    const value = fields[name];
    if (value === undefined) continue;
    if (name === "cause") cause = `\n${indent(value instanceof Error ? value.stack ?? value.message : String(value))}`;
    else line += ` ${name}=${renderValue(value)}`;
  }
  return `${line}${cause}\n`;
}

const COLORS: Readonly<Record<string, string>> = {
  trace: "90",
  debug: "36",
  info: "32",
  warn: "33",
  error: "31",
  fatal: "1;31",
};

function renderValue(value: unknown): string {
  if (typeof value !== "string") return escapeControls(stringify(value));
  return /^[^\s"=\p{Cc}]+$/u.test(value) ? value : escapeControls(JSON.stringify(value));
}

function indent(text: string): string {
  return text.split("\n").map((line) => `    ${escapeControls(line)}`).join("\n");
}

function escapeControls(text: string): string {
  return text.replace(/\p{Cc}/gu, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A log never throws: what JSON cannot hold, such as a cycle, becomes its string form. */
function stringify(value: unknown): string {
  try {
    return JSON.stringify(value, replace) ?? String(value);
  } catch {
    return JSON.stringify(value, flatten);
  }
}

function replace(_name: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Error) return value.message;
  return value;
}

/** Keeps the first level and what is not an object. */
function flatten(name: string, value: unknown): unknown {
  return name !== "" && typeof value === "object" && value !== null ? String(value) : replace(name, value);
}
