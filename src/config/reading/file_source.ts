/**
 * A configuration file as a list of settings, each with its line.
 *
 * YAML 1.2, of which JSON is a subset. Sections nest (`mqtt: {max-qos: 1}`) or are written as dotted keys
 * (`mqtt.max-qos: 1`); words are joined by `-` or `_`. Scalars are kept as the text in the file, so that `0x10`, `1e3`
 * and `yes` are judged by the type of the option and not by YAML. An option may also be a list of sections, whose
 * problems are found for each section apart.
 *
 * Knows which keys exist, not what their values mean.
 */

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import type { IndexedOption, OptionIndex } from "../kinds/option.ts";

/** One value given somewhere. */
export interface Setting {
  readonly option: IndexedOption;
  /** What messages call it: the key, within a list of sections `listeners[1].bind`. */
  readonly label: string;
  /** Text to decode, or undefined when the place holds no single value. */
  readonly text: string | undefined;
  /**
   * Of an option that is a list of sections: the sections, and as strings the lines to print about entries that are none.
   * Undefined when the place holds no list.
   */
  readonly items: readonly (SectionItem | string)[] | undefined;
  /** What was found, fit for the end of "got …". */
  readonly got: string;
  /** `file:line`, `env NAME` or `flag --name`. */
  readonly place: string;
}

/** One section of a list. */
export interface SectionItem {
  /** What messages call it, such as `listeners[1]`. */
  readonly label: string;
  readonly place: string;
  readonly reading: SourceReading;
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
  if (isNothing(root)) return [];
  const placeOf: PlaceOf = (node) => `${name}:${lines.linePos(node?.range?.[0] ?? 0).line}`;
  if (!isMap(root)) return [`${placeOf(root)}: expected sections, got ${describe(root)}`];
  const reader = new SectionReader(index, "", placeOf, document);
  reader.readSection(root, "");
  return reader.reading;
}

/**
 * The setting that one text makes, as flags and the environment have them. A list of sections is written in them as in a
 * file, in YAML or JSON.
 */
export function readTextSetting(option: IndexedOption, text: string, place: string): Setting | string {
  if (option.entries === undefined) {
    return { option, label: option.key, text, items: undefined, got: quote(text), place };
  }
  const document = parseDocument(text, { prettyErrors: true });
  const [mistake] = document.errors;
  if (mistake !== undefined) return `${option.key}: ${describeSyntax(mistake)} (${place})`;
  const reader = new SectionReader(option.entries, "", () => place, document);
  return reader.settingOf(option, document.contents, place);
}

type PlaceOf = (node: Node | null) => string;

/** Most sections in one list. */
const ITEMS_MAX = 100;

/** Reads one section with all below it. Sections of a list are read by readers of their own. */
class SectionReader {
  readonly reading: (Setting | string)[] = [];
  readonly #places = new Map<IndexedOption, string>();
  readonly #index: OptionIndex;
  /** In front of every key in messages. */
  readonly #label: string;
  readonly #placeOf: PlaceOf;
  readonly #document: Document.Parsed;

  constructor(index: OptionIndex, label: string, placeOf: PlaceOf, document: Document.Parsed) {
    this.#index = index;
    this.#label = label;
    this.#placeOf = placeOf;
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

  /** What a node says of an option. */
  settingOf(option: IndexedOption, node: Node | null, place: string): Setting {
    const label = this.#label + option.key;
    const items = option.entries === undefined ? undefined : this.#itemsOf(option.entries, label, node, place);
    const text = option.type.isList === true && isSeq(node) ? this.#joinedText(node) : textOf(node);
    return { option, label, text, items, got: text === undefined ? describe(node) : quote(text), place };
  }

  #readPair(key: string, keyNode: Node, value: Node | null): void {
    const place = this.#placeOf(keyNode);
    const known = this.#index.byKey(key);
    if (known !== undefined) {
      this.#addSetting(known, value, place);
      return;
    }
    const label = this.#label + key;
    if (!this.#index.isSection(key)) {
      const nearest = this.#index.nearestKey(key);
      const suggestion = nearest === undefined ? "" : `; did you mean ${this.#label}${nearest}?`;
      this.reading.push(`${label}: unknown key (${place})${suggestion}`);
      return;
    }
    if (isMap(value)) {
      this.readSection(value, `${key}.`);
    } else if (!isNothing(value)) {
      this.reading.push(`${label}: expected a section with keys, got ${describe(value)} (${place})`);
    }
  }

  #addSetting(option: IndexedOption, value: Node | null, place: string): void {
    const earlier = this.#places.get(option);
    if (earlier !== undefined) {
      this.reading.push(`${this.#label}${option.key}: given twice (${place}), first at ${earlier}`);
      return;
    }
    this.#places.set(option, place);
    this.reading.push(this.settingOf(option, value, place));
  }

  #itemsOf(index: OptionIndex, label: string, list: Node | null, place: string): Setting["items"] {
    if (isNothing(list)) return [];
    if (!isSeq(list)) return undefined;
    if (list.items.length > ITEMS_MAX) {
      return [`${label}: ${list.items.length} entries, at most ${ITEMS_MAX} are allowed (${place})`];
    }
    return list.items.map((item, position) => {
      const node = resolveAlias(item as Node | null, this.#document);
      // The place of an alias is where it stands, and not where its section is written.
      const itemPlace = this.#placeOf(item as Node | null);
      const itemLabel = `${label}[${position}]`;
      if (!isMap(node)) return `${itemLabel}: expected a section with keys, got ${describe(node)} (${itemPlace})`;
      const reader = new SectionReader(index, `${itemLabel}.`, this.#placeOf, this.#document);
      reader.readSection(node, "");
      return { label: itemLabel, place: itemPlace, reading: reader.reading };
    });
  }

  /** The text of a list of scalars, or undefined when one of its entries is none. */
  #joinedText(list: YAMLSeq): string | undefined {
    const texts = list.items.map((item) => textOf(resolveAlias(item as Node | null, this.#document)));
    return texts.every((text) => text !== undefined) ? texts.join(",") : undefined;
  }
}

function resolveAlias(node: Node | null, document: Document.Parsed): Node | null {
  return isAlias(node) ? node.resolve(document) ?? null : node;
}

function isNothing(node: Node | null): boolean {
  return node === null || (isScalar(node) && node.value === null);
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
