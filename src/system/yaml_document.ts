/**
 * YAML files that are not the configuration itself, such as rules, as plain values that know their line.
 *
 * A value is a map, a list or a scalar. Scalars are kept as the text in the file, so that a user `007` or `yes` stays
 * what it is; whoever reads them knows what they should be. Names may be repeated by anchor and alias. What a file may
 * take is bounded: its size, its depth, its aliases and the values it unfolds to, so that a few lines of aliases of
 * aliases cannot fill the memory.
 */
import { type Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from "yaml";

/** One value of a document. Lines count from 1. */
export type YamlValue = YamlMap | YamlList | YamlScalar;

/** Keys with their values, in the order of the file; no key twice. */
export interface YamlMap {
  readonly kind: "map";
  readonly line: number;
  readonly entries: readonly YamlEntry[];
}

/** One key of a map and what stands there. */
export interface YamlEntry {
  readonly key: string;
  /** Of the key; its value may begin below. */
  readonly line: number;
  readonly value: YamlValue;
}

/** Values in a row. */
export interface YamlList {
  readonly kind: "list";
  readonly line: number;
  readonly items: readonly YamlValue[];
}

/** A single value. */
export interface YamlScalar {
  readonly kind: "scalar";
  readonly line: number;
  /** As in the file, without quotes; undefined for nothing, `null` and `~`. */
  readonly text: string | undefined;
}

/** What a file says, or everything that is wrong with it. */
export interface YamlReading {
  /** Undefined when there are problems. */
  readonly root: YamlValue | undefined;
  /** Each is one line with its place, `file:line: …`. */
  readonly problems: readonly string[];
}

/** Longest text, in UTF-16 units. */
export const YAML_LENGTH_MAX = 4 * 1024 * 1024;
/** Maps and lists in one another. */
export const YAML_DEPTH_MAX = 16;
/** Uses of anchors. */
export const YAML_ALIASES_MAX = 100;
/** Values after all aliases are unfolded. */
export const YAML_VALUES_MAX = 500_000;

const PROBLEMS_MAX = 20;

/**
 * Reads one document.
 *
 * @param name Name of the file as the user would know it; the first part of every problem.
 * @param text Its whole content. Empty text is a scalar without text.
 */
export function readYaml(name: string, text: string): YamlReading {
  if (text.length > YAML_LENGTH_MAX) return failed([`${name}:1: longer than ${YAML_LENGTH_MAX} characters`]);
  const lines = new LineCounter();
  // Duplicate keys are found below: the parser compares every key with every other.
  const options = { lineCounter: lines, stringKeys: true, uniqueKeys: false, resolveKnownTags: false } as const;
  const document = parseDocument(text, options);
  const faults = [...document.errors, ...document.warnings];
  if (faults.length > 0) {
    return failed(
      faults.slice(0, PROBLEMS_MAX).map((fault) =>
        `${name}:${fault.linePos?.[0].line ?? 1}: ${firstSentence(fault.message)}`
      ),
    );
  }
  const reader = new NodeReader(document, lines);
  const root = reader.read(document.contents, 1, 0);
  return reader.problems.length === 0
    ? { root, problems: [] }
    : failed(reader.problems.map(({ line, text: problem }) => `${name}:${line}: ${problem}`));
}

interface Problem {
  readonly line: number;
  readonly text: string;
}

/** Turns nodes into values; gives up at the first bound that is passed. */
class NodeReader {
  readonly problems: Problem[] = [];
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;
  #aliases = 0;
  #values = 0;
  #isTooMuch = false;

  constructor(document: Document.Parsed, lines: LineCounter) {
    this.#document = document;
    this.#lines = lines;
  }

  /** @param outerLine For a value that is not written down at all, such as that of `key:`. */
  read(node: unknown, outerLine: number, depth: number): YamlValue {
    const line = this.#lineOf(node) ?? outerLine;
    if (isAlias(node)) {
      if (++this.#aliases > YAML_ALIASES_MAX) return this.#giveUp(line, `more than ${YAML_ALIASES_MAX} aliases`);
      const anchored = node.resolve(this.#document);
      if (anchored === undefined) {
        return this.#giveUp(line, `no anchor ${JSON.stringify(node.source)} before this alias`);
      }
      return this.read(anchored, line, depth);
    }
    if (++this.#values > YAML_VALUES_MAX) return this.#giveUp(line, `more than ${YAML_VALUES_MAX} values`);
    if (isScalar(node)) return { kind: "scalar", line, text: textOf(node.value, node.source) };
    if (depth === YAML_DEPTH_MAX) return this.#giveUp(line, `more than ${YAML_DEPTH_MAX} levels`);
    if (isSeq(node)) return { kind: "list", line, items: this.#items(node.items, line, depth) };
    if (isMap(node)) return { kind: "map", line, entries: this.#entries(node.items, line, depth) };
    return { kind: "scalar", line, text: undefined };
  }

  #items(nodes: readonly unknown[], line: number, depth: number): YamlValue[] {
    const items: YamlValue[] = [];
    for (const node of nodes) {
      if (this.#isTooMuch) break;
      items.push(this.read(node, line, depth + 1));
    }
    return items;
  }

  #entries(pairs: readonly { readonly key: unknown; readonly value: unknown }[], line: number, depth: number) {
    const entries = new Map<string, YamlEntry>();
    for (const pair of pairs) {
      if (this.#isTooMuch) break;
      const keyLine = this.#lineOf(pair.key) ?? line;
      const key = isScalar(pair.key) ? String(pair.key.value) : "";
      const earlier = entries.get(key);
      if (earlier === undefined) {
        entries.set(key, { key, line: keyLine, value: this.read(pair.value, keyLine, depth + 1) });
      } else if (this.problems.length < PROBLEMS_MAX) {
        const text = `key ${JSON.stringify(key)} given twice, first in line ${earlier.line}`;
        this.problems.push({ line: keyLine, text });
      }
    }
    return [...entries.values()];
  }

  #giveUp(line: number, text: string): YamlScalar {
    if (!this.#isTooMuch) this.problems.push({ line, text });
    this.#isTooMuch = true;
    return { kind: "scalar", line, text: undefined };
  }

  #lineOf(node: unknown): number | undefined {
    return isNode(node) && node.range ? this.#lines.linePos(node.range[0]).line : undefined;
  }
}

function textOf(value: unknown, source: string | undefined): string | undefined {
  if (value === null || value === undefined) return undefined;
  return typeof value === "string" ? value : source ?? String(value);
}

/** Without the place, which the parser repeats, and without its picture of the text. */
function firstSentence(message: string): string {
  return (message.split("\n")[0] ?? "").replace(/ at line \d+, column \d+:?$/, "");
}

function failed(problems: readonly string[]): YamlReading {
  return { root: undefined, problems };
}
