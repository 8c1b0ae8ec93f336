/**
 * The kinds of value that are lists: words out of a few, and IP addresses with networks.
 *
 * As text their entries are separated by commas; a file may also hold a list of scalars.
 */

import * as Option from "effect/Option";
import * as Schema from "effect/Schema";
import { ADDRESSES_MAX, AddressList } from "../../system/address_list.ts";
import { listWords, textCodec, type ValueType } from "./value_types.ts";

/** Most words of one list; more than any option has choices, so that only nonsense is refused. */
const WORDS_MAX = 64;

/** Words out of a few, in any case, in the order given; the empty text is the empty list. */
export function wordList<const T extends readonly string[]>(...choices: T): ValueType<readonly T[number][]> {
  const byText = new Map<string, T[number]>(choices.map((choice) => [choice.toLowerCase(), choice]));
  const target = Schema.declare((value): value is readonly T[number][] =>
    Array.isArray(value) && value.every((word) => choices.some((choice) => choice === word))
  );
  return {
    codec: textCodec(target, (text) => {
      if (text === "") return Option.some([]);
      const words = text.split(",").map((word) => byText.get(word.trim().toLowerCase()));
      return words.length <= WORDS_MAX && words.every((word) => word !== undefined)
        ? Option.some(words)
        : Option.none();
    }, (words) => words.join(",")),
    expected: `a list, separated by commas, of ${listWords(choices)}`,
    metavar: "list",
    isList: true,
  };
}

/** IP addresses and networks; the empty text is the empty list. */
export function addressList(): ValueType<AddressList> {
  return {
    codec: textCodec(
      Schema.declare((value): value is AddressList => value instanceof AddressList),
      (text) => Option.fromUndefinedOr(AddressList.parse(text)),
      String,
    ),
    expected: `at most ${ADDRESSES_MAX} addresses and networks like ::1 or 10.0.0.0/8, separated by commas`,
    metavar: "addresses",
    isList: true,
  };
}
