/**
 * One option as a declaration, sections of them, and the index of every spelling of every key.
 *
 * A schema is nested objects whose leaves are options. The nesting and the field names are the typed configuration
 * (camelCase, units last); the key in each option is what people write. The index derives the rest: environment name,
 * flag, nearest known key. It is built from any schema, so tests may bring a small one.
 */

import type { ValueType } from "./value_types.ts";

/** Whether a changed value is taken over by a running broker. */
export type Reloading = "live" | "restart";

/** Everything there is to say about one option, once. */
export interface Option<T> {
  /** Dotted key in kebab-case, such as `mqtt.max-qos`. */
  readonly key: string;
  readonly type: ValueType<T>;
  /** Default, in the spelling of a configuration file. */
  readonly defaultText: string;
  readonly reload: Reloading;
  /** One or two sentences for the help and the reference: meaning, unit, special values. */
  readonly doc: string;
  /** Short flag name without dashes; without it the key joined by dashes. */
  readonly flag?: string;
  /** Other dotted keys that mean this option in files and, by their own names, in the environment. */
  readonly aliases?: readonly string[];
  /** Never shown in messages, `config show` or logs. */
  readonly isSecret?: boolean;
  /** Values of the type that this version cannot honour, with the reason. */
  readonly refused?: Readonly<Record<string, string>>;
  /** Options of each section when the value is a list of sections; their keys are those of one section. */
  readonly entries?: OptionIndex;
  /** Within a list of sections: each section has to say it, whatever `defaultText` is. */
  readonly isRequired?: boolean;
  /** Lines of a configuration file, shown in the reference. */
  readonly example?: string;
}

/** Options and further sections by field name. */
export interface Section {
  readonly [field: string]: Option<unknown> | Section;
}

/** The frozen values a schema describes. */
export type ValuesOf<S> = S extends Option<infer T> ? T : { readonly [K in keyof S]: ValuesOf<S[K]> };

/** Declares an option; only here to infer the type of its value. */
export function option<T>(declaration: Option<T>): Option<T> {
  return declaration;
}

/** True for an option, false for a section. */
export function isOption(node: Option<unknown> | Section): node is Option<unknown> {
  return typeof node["key"] === "string" && "defaultText" in node;
}

/** An option with where its value goes and the names derived from its key. */
export interface IndexedOption extends Option<unknown> {
  /** Field names from the root of the configuration. */
  readonly path: readonly string[];
  readonly envName: string;
  /** Without dashes in front. */
  readonly flagName: string;
}

/** Every option of one schema, found by any of its spellings. Lookups are O(1), suggestions O(options). */
export class OptionIndex {
  /** In the order of declaration. */
  readonly options: readonly IndexedOption[];
  readonly #byKey = new Map<string, IndexedOption>();
  readonly #byEnvName = new Map<string, IndexedOption>();
  readonly #sections = new Set<string>();

  /** @param schema Nested sections of options. */
  constructor(schema: Section) {
    this.options = collect(schema, []);
    for (const indexed of this.options) {
      for (const key of [indexed.key, ...indexed.aliases ?? []]) {
        this.#byKey.set(key, indexed);
        this.#byEnvName.set(envNameOf(key), indexed);
        const parts = key.split(".");
        for (let length = 1; length < parts.length; length++) this.#sections.add(parts.slice(0, length).join("."));
      }
    }
  }

  /** The option with this dotted kebab-case key or alias. */
  byKey(key: string): IndexedOption | undefined {
    return this.#byKey.get(key);
  }

  /** The option this environment variable sets. */
  byEnvName(name: string): IndexedOption | undefined {
    return this.#byEnvName.get(name);
  }

  /** True when some key lies below this one. */
  isSection(key: string): boolean {
    return this.#sections.has(key);
  }

  /** The known key most like a wrong one, or undefined when none is close. */
  nearestKey(key: string): string | undefined {
    return nearest(key, this.#byKey.keys()) ?? nearest(key, this.#sections) ?? this.#sameLastWord(key);
  }

  /** The known environment name most like a wrong one, or undefined when none is close. */
  nearestEnvName(name: string): string | undefined {
    return nearest(name, this.#byEnvName.keys());
  }

  /** Catches a right name in a wrong section, when only one section has it. */
  #sameLastWord(key: string): string | undefined {
    const lastWord = key.slice(key.lastIndexOf(".") + 1);
    const same = [...this.#byKey.keys()].filter((known) => known.slice(known.lastIndexOf(".") + 1) === lastWord);
    return same.length === 1 ? same[0] : undefined;
  }
}

function collect(section: Section, path: readonly string[]): IndexedOption[] {
  return Object.entries(section).flatMap(([field, node]) => {
    const here = [...path, field];
    if (!isOption(node)) return collect(node, here);
    const flagName = node.flag ?? node.key.replaceAll(".", "-");
    return [{ ...node, path: here, envName: envNameOf(node.key), flagName }];
  });
}

function envNameOf(key: string): string {
  return `PROMPTMQ_${key.replace(/[.-]/g, "_").toUpperCase()}`;
}

/** The candidate with the fewest edits, if they are few for its length. */
function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestEdits = Math.max(2, Math.floor(word.length / 5)) + 1;
  for (const candidate of candidates) {
    const edits = countEdits(word, candidate);
    if (edits < bestEdits) {
      best = candidate;
      bestEdits = edits;
    }
  }
  return best;
}

/** Insertions, deletions and substitutions between two words; O(length × length). */
function countEdits(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const substitution = (previous[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1);
      const indel = Math.min(previous[column] ?? 0, current[column - 1] ?? 0) + 1;
      current.push(Math.min(substitution, indel));
    }
    previous = current;
  }
  return previous[to.length] ?? 0;
}

/** One section of a list as canonical text: what it says by key, without what is as by default. */
export type SectionRecord = Readonly<Record<string, string>>;
