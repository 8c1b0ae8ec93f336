/**
 * A configuration file as a list of settings, each with its line.
 *
 * YAML 1.2, of which JSON is a subset. Sections nest (`mqtt: {max-qos: 1}`) or are written as dotted keys
 * (`mqtt.max-qos: 1`); words are joined by `-` or `_`. Scalars are kept as the text in the file, so that `0x10`, `1e3`
 * and `yes` are judged by the type of the option and not by YAML.
 *
 * Knows which keys exist, not what their values mean.
 */

import { type Document, isAlias, isMap, isScalar, LineCounter, type Node, parseDocument, type YAMLMap } from "yaml";
import type { IndexedOption, OptionIndex } from "./option.ts";

/** One value given somewhere. */
export interface Setting {
  readonly option: IndexedOption;
  /** Text to decode, or undefined when the place holds no single value. */
  readonly text: string | undefined;
  /** What was found, fit for the end of "got …". */
  readonly got: string;
  /** `file:line`, `env NAME` or `flag --name`. */
  readonly place: string;
}

/** What a source gave, in its order: values, and as strings the lines to print about what cannot be a value. */
export type SourceReading = readonly (Setting | string)[];

/**
 * Reads the settings of one file.
 *
 * @param name Name of the file as the user would know it; the first half of every place.
 * @param text Its whole content.
 * @returns Settings in file order. With a syntax error only problems, as nothing in the file can be trusted then.
 */
export function readFileSource(name: string, text: string, index: OptionIndex): SourceReading {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: true });
  if (document.errors.length > 0) {
    return document.errors.map((error) => `${name}:${error.linePos?.[0].line ?? 1}: ${describeSyntax(error)}`);
  }
  const root = document.contents;
  if (root === null || (isScalar(root) && root.value === null)) return [];
  const reader = new FileReader(index, (node) => `${name}:${lines.linePos(node?.range?.[0] ?? 0).line}`, document);
  if (!isMap(root)) return [`${reader.placeOf(root)}: expected sections, got ${describe(root)}`];
  reader.readSection(root, "");
  return reader.reading;
}

class FileReader {
  readonly reading: (Setting | string)[] = [];
  readonly placeOf: (node: Node | null) => string;
  readonly #places = new Map<IndexedOption, string>();
  readonly #index: OptionIndex;
  readonly #document: Document.Parsed;

  constructor(index: OptionIndex, placeOf: (node: Node | null) => string, document: Document.Parsed) {
    this.#index = index;
    this.placeOf = placeOf;
    this.#document = document;
  }

  /** Depth is bounded by the schema: only known sections are entered. */
  readSection(section: YAMLMap, prefix: string): void {
    for (const pair of section.items) {
      const keyNode = pair.key as Node;
      const word = isScalar(keyNode) ? String(keyNode.value).replaceAll("_", "-") : String(keyNode);
      this.#readPair(prefix + word, keyNode, resolveAlias(pair.value as Node | null, this.#document));
    }
  }

  #readPair(key: string, keyNode: Node, value: Node | null): void {
    const place = this.placeOf(keyNode);
    const known = this.#index.byKey(key);
    if (known !== undefined) {
      this.#addSetting(known, value, place);
      return;
    }
    if (!this.#index.isSection(key)) {
      const nearest = this.#index.nearestKey(key);
      this.reading.push(`${key}: unknown key (${place})${nearest === undefined ? "" : `; did you mean ${nearest}?`}`);
      return;
    }
    if (isMap(value)) {
      this.readSection(value, `${key}.`);
    } else if (!(value === null || (isScalar(value) && value.value === null))) {
      this.reading.push(`${key}: expected a section with keys, got ${describe(value)} (${place})`);
    }
  }

  #addSetting(option: IndexedOption, value: Node | null, place: string): void {
    const earlier = this.#places.get(option);
    if (earlier !== undefined) {
      this.reading.push(`${option.key}: given twice (${place}), first at ${earlier}`);
      return;
    }
    this.#places.set(option, place);
    this.reading.push({ option, text: textOf(value), got: describe(value), place });
  }
}

function resolveAlias(node: Node | null, document: Document.Parsed): Node | null {
  return isAlias(node) ? node.resolve(document) ?? null : node;
}

function textOf(node: Node | null): string | undefined {
  if (!isScalar(node) || node.value === null) return undefined;
  return typeof node.value === "string" ? node.value : node.source ?? String(node.value);
}

function describe(node: Node | null): string {
  const text = textOf(node);
  if (text !== undefined) return quote(text);
  if (node === null || isScalar(node)) return "nothing";
  return isMap(node) ? "a section" : "a list";
}

function describeSyntax(error: Error): string {
  return (error.message.split("\n")[0] ?? "").replace(/ at line \d+, column \d+:?$/, "");
}

/** Quotes a value for a message: one line, escaped, cut after 80 characters. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
