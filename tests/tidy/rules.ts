/**
 * The house rules a machine can check, each as a function from one file to the problems it found.
 *
 * Rules look at a path and a text and touch no disk, so that `rules_test.ts` can show each of them something bad.
 * A risky API has a short list of owners in `OWNED`; a new owner is a line here, and so a decision in a review.
 */
import { problemsOfFloors } from "./imports.ts";
import { blocksOf, importsOf, lineAt, type MaskedSource, maskSource } from "./source.ts";

/** A file of the repository. */
export interface SourceFile {
  /** From the repository's root, with `/`. */
  readonly path: string;
  readonly text: string;
}

/** Folders that read no clock, no randomness and know no Effect: time and chance are arguments there. */
export const PURE_FOLDERS = ["src/protocol/", "src/topics/", "src/session/"];

/** An API that only its owners may touch. */
interface OwnedApi {
  readonly name: string;
  /** Looked for in `MaskedSource.code`, or compared with import specifiers when it is a string. */
  readonly use: RegExp | string;
  /** Files, or folders ending in `/`. */
  readonly owners: readonly string[];
}

/** Single owners of risky APIs within `src`. */
export const OWNED: readonly OwnedApi[] = [
  { name: "mqtt-packet", use: "mqtt-packet", owners: [] },
  { name: "MQTT.js", use: "mqtt", owners: ["src/bridge/", "src/cli/"] },
  { name: "yaml", use: "yaml", owners: ["src/config/reading/file_source.ts", "src/system/yaml_document.ts"] },
  { name: "jose", use: "jose", owners: ["src/auth/token/"] },
  { name: "ldapts", use: "ldapts", owners: [] },
  { name: "node:tls", use: "node:tls", owners: ["src/listeners/tls/", "src/listeners/transport/node_socket.ts"] },
  { name: "fast-check", use: "fast-check", owners: [] },
  { name: "node:sqlite", use: "node:sqlite", owners: ["src/storage/checkpoint/sqlite_connection.ts"] },
  {
    name: "node:fs",
    use: "node:fs",
    owners: ["src/storage/disk/node_disk.ts"],
  },
  {
    name: "file API",
    use: new RegExp(
      "\\bDeno\\.(?:open|create|readFile|readTextFile|readDir|writeFile|writeTextFile|stat|lstat|mkdir|remove|rename|" +
        "copyFile|truncate|link|symlink|makeTempDir|makeTempFile|FsFile)(?:Sync)?\\b",
    ),
    owners: [
      "src/storage/disk/node_disk.ts",
      "src/config/load.ts",
      "src/logging/rotating_file.ts",
      "src/system/",
      "src/cli/",
    ],
  },
  {
    name: "listening socket",
    use: /\bDeno\.(?:listen|listenTls|serve|upgradeWebSocket)\b/,
    owners: ["src/listeners/plain_listener.ts", "src/admin/http_server.ts"],
  },
  { name: "process exit", use: /\bDeno\.exit\b|\bprocess\.exit\b/, owners: ["src/main.ts", "src/cli/"] },
  {
    name: "event of the process",
    use: /(?<!\.\s*)\baddEventListener\b|\bglobalThis\s*\.\s*addEventListener\b|\bprocess\.on\b/,
    owners: ["src/logging/supervisor.ts"],
  },
  { name: "signals", use: /\bDeno\.(?:add|remove)SignalListener\b/, owners: ["src/main.ts", "src/cli/"] },
  { name: "environment", use: /\bDeno\.env\b|\bprocess\.env\b/, owners: ["src/cli/"] },
  { name: "arguments", use: /\bDeno\.args\b|\bprocess\.argv\b/, owners: ["src/main.ts", "src/cli/"] },
  { name: "Effect.run*", use: /\bEffect\.run[A-Z]\w*/, owners: ["src/main.ts", "src/cli/"] },
  { name: "console", use: /\bconsole\.\w+/, owners: [] },
];

const IMPURE =
  /\b(?:Date\.now|new Date|performance\.now|Math\.random|crypto\.\w+|setTimeout|setInterval|async|await)\b/g;
const TEST_SWITCH = /\bDeno\.test\.(?:only|ignore)\b|\b(?:only|ignore):\s*true\b/g;
/** Ignores tests whose programs are missing, or fails them where none may be. */
const TEST_SWITCH_OWNER = "tests/support/tools.ts";
const SRC_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;
const LINE_CHARS_MAX = 140;
const HEADER_START = /^\/\*\*|^\/\/ /;
const VAGUE_NAME = /(?:^|_)(?:utils?|commons?|misc|helpers?)(?:_|\.|$)/;
/** Top folders that exist on the machine of whoever wrote the line, and nowhere else. */
const MACHINE_FOLDERS = ["work", "root", "Users"];
const MACHINE_PATH = new RegExp(`(?:^|[\\s"'\`(=:])/(?:${MACHINE_FOLDERS.join("|")})(?=[/\\s"'\`)]|$)`, "m");

/** Checks one TypeScript file of `src`, `tests` or `bench` against every rule for its place. */
export function problemsOfSource(file: SourceFile): string[] {
  const masked = maskSource(file.text);
  const problems = [...problemsOfName(file.path), ...problemsEverywhere(file, masked)];
  if (file.path.startsWith("src/")) {
    problems.push(...problemsOfFloors(file.path, masked), ...problemsOfOwners(file.path, masked));
    problems.push(...problemsOfPurity(file.path, masked), ...problemsOfSize(file.text, masked));
    problems.push(...problemsOfModuleShape(file.text, masked));
  }
  return problems.map((problem) => `${file.path}: ${problem}`);
}

/** Checks a text file of any kind for what must not be published. */
export function problemsOfText(file: SourceFile): string[] {
  const match = MACHINE_PATH.exec(file.text);
  return match === null ? [] : [`${file.path}:${lineAt(file.text, match.index + 1)}: path of one machine`];
}

function problemsOfName(path: string): string[] {
  const parts = path.split("/");
  const name = parts.at(-1)!;
  const problems: string[] = [];
  if (!/^[a-z][a-z0-9_]*\.ts$/.test(name)) problems.push("file name is not snake_case");
  if (name === "index.ts" || name === "mod.ts") problems.push("barrel file");
  if (parts.some((part) => VAGUE_NAME.test(part))) problems.push("name says nothing (utils, common, misc, helpers)");
  return problems;
}

function problemsEverywhere(file: SourceFile, masked: MaskedSource): string[] {
  return [
    ...found(masked.comments, /\b(?:TODO|FIXME|XXX)\b/g, "unfinished work"),
    ...found(masked.code, /(?<![.\w$])any\b(?!\s*[:(])/g, "type any"),
    ...(file.path === TEST_SWITCH_OWNER ? [] : found(masked.code, TEST_SWITCH, "test switched off")),
    ...found(masked.code, /\bexport\s+default\b|\bas\s+default\b/g, "default export"),
    ...(file.path.startsWith("tests/") ? [] : longLines(masked)),
  ];
}

/** Lines of code that are too long. Tables and addresses in comments may be, and so may test data. */
function longLines(masked: MaskedSource): string[] {
  return masked.statements.split("\n").flatMap((line, i) => {
    const length = line.trimEnd().length;
    return length > LINE_CHARS_MAX ? [`line ${i + 1}: ${length} characters`] : [];
  });
}

function problemsOfModuleShape(text: string, masked: MaskedSource): string[] {
  const problems = found(masked.code, /\bexport\s*(?:type\s*)?(?:\*|\{[^}]*\}\s*from\b)/g, "re-export");
  if (!HEADER_START.test(text)) problems.push("no header comment");
  return problems;
}

function problemsOfOwners(path: string, masked: MaskedSource): string[] {
  const imports = importsOf(masked);
  return OWNED.flatMap(({ name, use, owners }) => {
    if (owners.some((owner) => owner.endsWith("/") ? path.startsWith(owner) : path === owner)) return [];
    if (typeof use !== "string") return found(masked.code, new RegExp(use, "g"), `${name} outside its owner`);
    const isUsed = imports.some((specifier) => specifier === use || specifier.startsWith(`${use}/`));
    return isUsed ? [`imports ${use} outside its owner`] : [];
  });
}

function problemsOfPurity(path: string, masked: MaskedSource): string[] {
  if (path !== "src/metrics/counters.ts" && !PURE_FOLDERS.some((folder) => path.startsWith(folder))) return [];
  const effects = importsOf(masked).filter((specifier) => /^(?:@effect\/|effect(?:\/|$))/.test(specifier));
  return [
    ...found(masked.code, IMPURE, "impure call in the pure middle"),
    ...effects.map((specifier) => `imports ${specifier} in the pure middle`),
  ];
}

function problemsOfSize(text: string, masked: MaskedSource): string[] {
  const lineCount = text.trimEnd().split("\n").length;
  const problems = lineCount > SRC_LINES_MAX ? [`${lineCount} lines, ${SRC_LINES_MAX} allowed`] : [];
  for (const block of blocksOf(masked.code)) {
    if (block.lineCount > FUNCTION_LINES_MAX && isFunctionHeader(block.header)) {
      problems.push(`line ${block.line}: function of ${block.lineCount} lines, ${FUNCTION_LINES_MAX} allowed`);
    }
  }
  return problems;
}

/**
 * Tells a function's body from a class, a type and an object literal. A control block counts as a function, which
 * changes nothing: the function around it is longer still.
 */
function isFunctionHeader(header: string): boolean {
  if (header.endsWith("=>")) return true;
  if (/(?:[=([,:?&|<]|\breturn|\bsatisfies|^)$/.test(header)) return false;
  return !/\b(?:class|interface|enum|namespace)\s+\w/.test(header);
}

function found(text: string, pattern: RegExp, problem: string): string[] {
  return [...text.matchAll(pattern)].map((match) =>
    `line ${lineAt(text, match.index)}: ${problem} (${match[0].trim()})`
  );
}
