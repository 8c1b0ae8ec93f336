/**
 * The conformance ledger: which normative statements bind a server, and which tests prove each.
 *
 * `statements.json` holds one entry per statement; summaries are ours. A test proves a statement by carrying its id in
 * its title, `[MQTT-3.1.0-2]` for 5.0 and `[3.1.1:MQTT-3.1.0-2]` for 3.1.1 where that differs. Titles are found in the
 * test sources (first argument of `Deno.test`, `step`, `testWithTools`, or a `name:` beside them) and in the golden
 * scenarios. `refresh.ts` writes the titles found into the ledger.
 */

/** One normative statement. */
export interface Statement {
  readonly id: string;
  readonly version: "5.0" | "3.1.1";
  readonly level: "MUST" | "SHOULD" | "MAY";
  /** Whom it binds; statements about clients are listed for completeness and not counted. */
  readonly side: "server" | "client";
  readonly summary: string;
  /** Titles of the tests that prove it, as written in the sources. */
  readonly tests: readonly string[];
  /** Why there is no test. */
  readonly reason?: string;
}

const TESTS = new URL("../", import.meta.url);
const STATEMENTS = new URL("statements.json", import.meta.url);

/** Reads `statements.json`. */
export async function readStatements(): Promise<Statement[]> {
  return JSON.parse(await Deno.readTextFile(STATEMENTS));
}

/** Writes `statements.json` with the tests found; a statement with tests loses its reason for having none. */
export async function writeStatements(statements: readonly Statement[]): Promise<void> {
  await Deno.writeTextFile(STATEMENTS, `${JSON.stringify(statements, null, 2)}\n`);
}

/** Collects all titles that cite a statement: id → titles in the order of files and lines. */
export async function collectCitations(): Promise<Map<string, string[]>> {
  const citations = new Map<string, string[]>();
  for (const title of await collectTitles(TESTS)) {
    for (const id of citedIds(title)) {
      const titles = citations.get(id) ?? [];
      if (!titles.includes(title)) titles.push(title);
      citations.set(id, titles);
    }
  }
  return citations;
}

/** Finds the statement ids in a title. */
export function citedIds(title: string): string[] {
  return Array.from(title.matchAll(/\[((?:3\.1\.1:)?MQTT-\d+(?:\.\d+)+-\d+)\]/g), (match) => match[1] ?? "");
}

/** Finds the titles of tests in the source of a test file; templates keep their `${…}` as written. */
export function titlesOf(source: string): string[] {
  const call = /(?:Deno\.test|\.step|testWithTools|\bname:)\s*\(?\s*(["'`])((?:\\[\s\S]|(?!\1)[\s\S])*)\1/g;
  return Array.from(source.matchAll(call), (match) => match[2] ?? "");
}

async function collectTitles(directory: URL): Promise<string[]> {
  const titles: string[] = [];
  const entries = await Array.fromAsync(Deno.readDir(directory));
  entries.sort((left, right) => left.name < right.name ? -1 : 1);
  for (const entry of entries) {
    const url = new URL(entry.name + (entry.isDirectory ? "/" : ""), directory);
    if (entry.isDirectory) titles.push(...await collectTitles(url));
    else if (entry.name.endsWith("_test.ts")) titles.push(...titlesOf(await Deno.readTextFile(url)));
    else if (url.pathname.includes("/golden/wire/") && entry.name.endsWith(".json")) {
      const { scenarios }: { scenarios: { name: string }[] } = JSON.parse(await Deno.readTextFile(url));
      titles.push(...scenarios.map((scenario) => scenario.name));
    }
  }
  return titles;
}
