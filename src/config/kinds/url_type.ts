/**
 * The kind of value that is the URL of a server to ask.
 *
 * A user and a password within the URL are refused, and hidden in the message that says so: what an option holds is
 * shown by `config show` and in logs, so secrets belong into the files that other options name.
 */

import * as Option from "effect/Option";
import * as Schema from "effect/Schema";
import { listWords, textCodec, type ValueType } from "./value_types.ts";

/** What is allowed of a URL. */
export interface UrlRules {
  /** Without colon, such as `https`. The first is shown in examples. */
  readonly protocols: readonly string[];
  /** True = nothing may follow host and port. */
  readonly isHostOnly: boolean;
}

/** An absolute URL without user, password and fragment; the empty text means none and decodes to undefined. */
export function url(rules: UrlRules): ValueType<string | undefined> {
  const schemes = rules.protocols.map((protocol) => `${protocol}://`);
  return {
    codec: textCodec(
      Schema.UndefinedOr(Schema.String),
      (text) => text === "" ? Option.some(undefined) : isAllowed(text, rules) ? Option.some(text) : Option.none(),
      (value) => value ?? "",
    ),
    expected: `a URL that starts with ${listWords(schemes)}, ${
      rules.isHostOnly ? "a host and no path" : "a host"
    }, and no user, password or fragment, or "" for none`,
    metavar: "url",
    redact: (text) => text.replace(/^.*@/s, "…@"),
  };
}

function isAllowed(text: string, { protocols, isHostOnly }: UrlRules): boolean {
  // The parser drops line breaks and tabs and fixes slashes, which would make the text differ from what is asked.
  if (!URL.canParse(text) || !/^[a-z]+:\/\/[^\s\\/?#@]+(?:[/?][^\s\\#@]*)?$/i.test(text)) return false;
  const { protocol, hostname, port, pathname, search } = new URL(text);
  if (!protocols.includes(protocol.slice(0, -1)) || hostname === "" || port === "0") return false;
  return !isHostOnly || (search === "" && (pathname === "" || pathname === "/"));
}
