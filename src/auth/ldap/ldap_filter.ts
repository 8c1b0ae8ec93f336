/**
 * Names of clients in the two languages of LDAP: Distinguished Names [RFC 4514] and search filters [RFC 4515].
 *
 * A client chooses its username, so it must stay one value wherever a template puts it. In a Distinguished Name that is
 * done by escaping. A filter is taken apart once, when the configuration is read; the username is put into the tree of
 * it, as the bytes of one assertion value, when nothing is left that could take it for syntax:
 *
 *     (&(objectClass=person)(uid={username}))          username *)(uid=*
 *       ──▶ AND[ objectClass = "person", uid = "*)(uid=*" ]     which no entry has
 *
 * Placeholders stand in values only, not in attribute names.
 */
import { element, Tag, textElement } from "./ldap_ber.ts";

/** What placeholders stand for. A missing one leaves its placeholder as it is written. */
export interface Placeholders {
  readonly username?: string;
  /** Distinguished Name of the entry that was found. */
  readonly dn?: string;
}

/** Fills a template of a Distinguished Name, such as `uid={username},ou=people,dc=example,dc=org`. */
export function fillDn(template: string, username: string): string {
  return fill(template, { username: escapeDnValue(username) });
}

/**
 * Writes text as one attribute value of a Distinguished Name. [RFC 4514, 2.4]
 *
 * Control characters are written in hexadecimal, which the standard leaves free, so that nothing depends on how a
 * server takes them.
 */
export function escapeDnValue(value: string): string {
  return value.replace(
    DN_SPECIAL,
    (character) => CONTROL_OR_SPACE.test(character) ? hexEscape(character) : `\\${character}`,
  );
}

/** A filter that has been taken apart. */
export interface FilterTemplate {
  /** Attributes whose value must be the username, in small letters: `uid` of `(uid={username})`. */
  readonly nameAttributes: readonly string[];
  /** Encodes the filter as it goes into a search request. [RFC 4511, 4.5.1] */
  encode(placeholders: Placeholders): Uint8Array;
}

/**
 * Takes a filter apart. [RFC 4515, 3]
 *
 * @param source Such as `(&(objectClass=person)(uid={username}))`. Brackets around a single comparison may be missing.
 * @returns What is wrong, as a text, when it is no filter.
 */
export function parseFilter(source: string): FilterTemplate | string {
  const parser = new FilterParser(source.startsWith("(") ? source : `(${source})`);
  const node = parser.parse();
  if (typeof node === "string") return node;
  const nameAttributes = new Set<string>();
  collectNameAttributes(node, nameAttributes);
  return { nameAttributes: [...nameAttributes], encode: (placeholders) => encodeNode(node, placeholders) };
}

/** The attribute that a template of a Distinguished Name gives the username to, in small letters, if there is one. */
export function nameAttributeOfDn(template: string): string | undefined {
  return /(?:^|[,+])\s*([A-Za-z][A-Za-z0-9-]*)\s*=\s*\{username\}\s*(?:[,+]|$)/.exec(template)?.[1]?.toLowerCase();
}

const DN_SPECIAL = /[\p{Cc}"+,;<=>\\]|^[ #]| $/gu;
const CONTROL_OR_SPACE = /[\p{Cc} ]/u;
const PLACEHOLDER = /\{(username|dn)\}/g;
const ENCODER = new TextEncoder();

function hexEscape(character: string): string {
  return Array.from(ENCODER.encode(character), (byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("");
}

/** One pass, so that a username `{dn}` stays what it is. */
function fill(template: string, placeholders: Placeholders): string {
  return template.replace(PLACEHOLDER, (whole, name: keyof Placeholders) => placeholders[name] ?? whole);
}

/** Kinds of filters; the numbers are their tags. */
const Kind = {
  AND: 0xa0,
  OR: 0xa1,
  NOT: 0xa2,
  EQUALS: 0xa3,
  SUBSTRINGS: 0xa4,
  AT_LEAST: 0xa5,
  AT_MOST: 0xa6,
  PRESENT: 0x87,
  ABOUT: 0xa8,
  EXTENSIBLE: 0xa9,
} as const;

type Comparison = typeof Kind.EQUALS | typeof Kind.AT_LEAST | typeof Kind.AT_MOST | typeof Kind.ABOUT;

type Node =
  | { readonly kind: typeof Kind.AND | typeof Kind.OR | typeof Kind.NOT; readonly parts: readonly Node[] }
  | { readonly kind: Comparison; readonly attribute: string; readonly value: string }
  | { readonly kind: typeof Kind.SUBSTRINGS; readonly attribute: string; readonly pieces: readonly string[] }
  | { readonly kind: typeof Kind.PRESENT; readonly attribute: string }
  | {
    readonly kind: typeof Kind.EXTENSIBLE;
    readonly attribute: string;
    readonly rule: string;
    readonly isDn: boolean;
    readonly value: string;
  };

/** Brackets in brackets; a filter of an operator has a handful. */
const DEPTH_MAX = 32;

/** Reads the written form; every function returns undefined when it cannot go on and leaves the reason in `#problem`. */
class FilterParser {
  readonly #source: string;
  #at = 0;
  #problem = "";

  constructor(source: string) {
    this.#source = source;
  }

  parse(): Node | string {
    const node = this.#filter(0);
    if (node === undefined) return this.#problem;
    return this.#at === this.#source.length ? node : `unexpected text at character ${this.#at + 1}`;
  }

  #filter(depth: number): Node | undefined {
    if (depth > DEPTH_MAX) return this.#fail("too many brackets in each other");
    if (!this.#take("(")) return this.#fail("expected (");
    const node = this.#inner(depth);
    if (node === undefined) return undefined;
    return this.#take(")") ? node : this.#fail("expected )");
  }

  #inner(depth: number): Node | undefined {
    if (this.#take("&")) return this.#parts(Kind.AND, depth);
    if (this.#take("|")) return this.#parts(Kind.OR, depth);
    if (this.#take("!")) {
      const part = this.#filter(depth + 1);
      return part === undefined ? undefined : { kind: Kind.NOT, parts: [part] };
    }
    return this.#item();
  }

  #parts(kind: typeof Kind.AND | typeof Kind.OR, depth: number): Node | undefined {
    const parts: Node[] = [];
    while (this.#source[this.#at] === "(") {
      const part = this.#filter(depth + 1);
      if (part === undefined) return undefined;
      parts.push(part);
    }
    return parts.length > 0 ? { kind, parts } : this.#fail("expected (");
  }

  #item(): Node | undefined {
    const match = ITEM.exec(this.#source.slice(this.#at));
    if (match === null) return this.#fail("expected a comparison such as uid=name");
    const [whole, attribute = "", isDn, rule = "", operator, written = ""] = match;
    if (operator === ":=") {
      const value = unescape(written);
      if (value === undefined || written.includes("*")) return this.#fail("a value is not escaped correctly");
      if (attribute === "" && rule === "") return this.#fail("expected an attribute or a matching rule");
      this.#at += whole.length;
      return { kind: Kind.EXTENSIBLE, attribute, rule, isDn: isDn !== undefined, value };
    }
    if (attribute === "" || rule !== "" || isDn !== undefined) return this.#fail("expected :=");
    const node = comparison(attribute, operator!, written);
    if (node === undefined) return this.#fail("a value is not escaped correctly");
    this.#at += whole.length;
    return node;
  }

  #take(character: string): boolean {
    if (this.#source[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #fail(problem: string): undefined {
    this.#problem = `${problem} at character ${this.#at + 1}`;
  }
}

const OPERATORS: Readonly<Record<string, Comparison>> = {
  "=": Kind.EQUALS,
  ">=": Kind.AT_LEAST,
  "<=": Kind.AT_MOST,
  "~=": Kind.ABOUT,
};

/** Attribute description or number with options, `:dn`, matching rule, operator, value up to the bracket. */
const ITEM = /^([A-Za-z0-9][A-Za-z0-9.;-]*)?(:dn)?(?::([A-Za-z0-9][A-Za-z0-9.-]*))?(:=|>=|<=|~=|=)([^()\0]*)/;

function comparison(attribute: string, operator: string, written: string): Node | undefined {
  if (operator === "=" && written === "*") return { kind: Kind.PRESENT, attribute };
  if (operator === "=" && written.includes("*")) {
    const pieces = written.split("*").map(unescape);
    return pieces.every((piece) => piece !== undefined) ? { kind: Kind.SUBSTRINGS, attribute, pieces } : undefined;
  }
  const value = unescape(written);
  if (value === undefined || written.includes("*")) return undefined;
  return { kind: OPERATORS[operator]!, attribute, value };
}

/** `\2a` is one byte; undefined when a backslash stands alone or the bytes make no UTF-8. */
function unescape(written: string): string | undefined {
  if (/\\(?![0-9A-Fa-f]{2})/.test(written)) return undefined;
  try {
    const escaped = encodeURIComponent(written).replace(/%5C([0-9A-Fa-f]{2})/g, "%$1");
    return decodeURIComponent(escaped);
  } catch {
    return undefined;
  }
}

function collectNameAttributes(node: Node, found: Set<string>): void {
  if ("parts" in node) {
    // What must not hold says nothing about who the entry is.
    if (node.kind !== Kind.NOT) { for (const part of node.parts) collectNameAttributes(part, found); }
  } else if (node.kind === Kind.EQUALS && node.value === "{username}") found.add(node.attribute.toLowerCase());
}

function encodeNode(node: Node, placeholders: Placeholders): Uint8Array {
  const value = (written: string) => fill(written, placeholders);
  switch (node.kind) {
    case Kind.AND:
    case Kind.OR:
    case Kind.NOT:
      return element(node.kind, ...node.parts.map((part) => encodeNode(part, placeholders)));
    case Kind.PRESENT:
      return textElement(node.kind, node.attribute);
    case Kind.SUBSTRINGS: {
      const last = node.pieces.length - 1;
      const pieces = node.pieces.flatMap((piece, i) => {
        if (piece === "") return [];
        return [textElement(i === 0 ? 0x80 : i === last ? 0x82 : 0x81, value(piece))];
      });
      const attribute = textElement(Tag.OCTET_STRING, node.attribute);
      return element(node.kind, attribute, element(Tag.SEQUENCE, ...pieces));
    }
    case Kind.EXTENSIBLE:
      return element(
        node.kind,
        ...(node.rule === "" ? [] : [textElement(0x81, node.rule)]),
        ...(node.attribute === "" ? [] : [textElement(0x82, node.attribute)]),
        textElement(0x83, value(node.value)),
        ...(node.isDn ? [element(0x84, Uint8Array.of(0xff))] : []),
      );
    default:
      return element(
        node.kind,
        textElement(Tag.OCTET_STRING, node.attribute),
        textElement(Tag.OCTET_STRING, value(node.value)),
      );
  }
}
