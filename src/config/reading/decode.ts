/**
 * From a setting, as a source gave it, to the value of its option or to all that is wrong with it.
 *
 * A list of sections is decoded section by section into a canonical text, of which its type then makes the value: one
 * kind of value, text in and value out, serves all options.
 */

import * as Result from "effect/Result";
import * as Schema from "effect/Schema";
import { type IndexedOption, type OptionIndex, SectionRecord } from "../kinds/option.ts";
import { quote, type SectionItem, type Setting } from "./file_source.ts";

/** Where the value of one option came from. */
export interface Origin {
  readonly option: IndexedOption;
  readonly value: unknown;
  /** Canonical text of the value in force. Of a list of sections JSON: see {@link SectionRecord}. */
  readonly text: string;
  /** `default`, `file:line`, `env NAME` or `flag --name`. */
  readonly place: string;
}

/** The value, or the lines that say why there is none. */
export function decodeSetting(setting: Setting): Origin | readonly string[] {
  const { option, label, got, place, items } = setting;
  const decoded = option.entries === undefined
    ? decodeText(option, setting.text)
    : items === undefined
    ? undefined
    : decodeSections(option, option.entries, label, items);
  if (decoded === undefined) {
    return [`${label}: expected ${option.type.expected}, got ${shown(option, setting.text, got)} (${place})`];
  }
  if (!("value" in decoded)) return decoded;
  const refusal = option.refused?.[decoded.text];
  if (refusal !== undefined) return [`${label}: ${decoded.text} is refused, ${refusal} (${place})`];
  return { option, ...decoded, place };
}

/** The value of an option that no source gives. */
export function decodeDefault(option: IndexedOption): Origin {
  const value = Schema.decodeSync(option.type.codec)(option.defaultText);
  return { option, value, text: encode(option, value), place: "default" };
}

interface Decoded {
  readonly value: unknown;
  readonly text: string;
}

function decodeText(option: IndexedOption, text: string | undefined): Decoded | undefined {
  const result = text === undefined ? undefined : Schema.decodeResult(option.type.codec)(text);
  if (result === undefined || Result.isFailure(result)) return undefined;
  return { value: result.success, text: encode(option, result.success) };
}

/** Every section is looked at, so that a wrong one does not hide what is wrong with the others. */
function decodeSections(
  option: IndexedOption,
  index: OptionIndex,
  label: string,
  items: readonly (SectionItem | string)[],
): Decoded | readonly string[] {
  const problems: string[] = [];
  const records: SectionRecord[] = [];
  for (const item of items) {
    if (typeof item === "string") problems.push(item);
    else records.push(decodeSection(index, item, problems));
  }
  return problems.length > 0 ? problems : decodeText(option, JSON.stringify(records)) ?? [`${label}: not readable`];
}

/** @param problems Where to put what is wrong with the section. */
function decodeSection(index: OptionIndex, { label, place, reading }: SectionItem, problems: string[]): SectionRecord {
  const given = new Set<IndexedOption>();
  const texts = new Map<IndexedOption, string>();
  for (const found of reading) {
    if (typeof found === "string") {
      problems.push(found);
      continue;
    }
    given.add(found.option);
    const decoded = decodeSetting(found);
    if ("text" in decoded) texts.set(decoded.option, decoded.text);
    else problems.push(...decoded);
  }
  for (const option of index.options) {
    if (option.isRequired !== true || given.has(option)) continue;
    problems.push(`${label}.${option.key}: missing, expected ${option.type.expected} (${place})`);
  }
  return recordOf(index, texts);
}

function recordOf(index: OptionIndex, texts: ReadonlyMap<IndexedOption, string>): SectionRecord {
  return Object.fromEntries(index.options.flatMap((option) => {
    const text = texts.get(option);
    const isSaid = text !== undefined && (option.isRequired === true || text !== decodeDefault(option).text);
    return isSaid ? [[option.key, text]] : [];
  }));
}

function shown(option: IndexedOption, text: string | undefined, got: string): string {
  if (option.isSecret) return "a value that is not shown";
  return text !== undefined && option.type.redact !== undefined ? quote(option.type.redact(text)) : got;
}

function encode(option: IndexedOption, value: unknown): string {
  return Schema.encodeSync(option.type.codec)(value);
}
