/**
 * The names in a client's certificate, read from its bytes.
 *
 * The runtime joins names into one text without quoting them, so a certificate with a comma, a line feed or ` DNS:` in
 * one of its values would seem to have other names as well. Whoever signs certificates may let clients choose such a
 * value; so every name is taken from its own place in the structure, and none from a text. [RFC 5280, 4.1; X.690]
 *
 *   Certificate ──▶ tbsCertificate ──▶ version?, serial, algorithm, issuer, validity, SUBJECT, key, …, [3] EXTENSIONS
 *   SUBJECT     ──▶ a list of sets of (attribute type, value); written as in RFC 4514, last one first
 *   EXTENSIONS  ──▶ subjectAltName 2.5.29.17 ──▶ a list of names, each tagged with its kind
 *
 * Names that could be mistaken for others, with control characters for example, are left out; what cannot be read at
 * all gives no certificate.
 */
import type { ClientCertificate } from "../../auth/identity/identity.ts";
import { addressOfBytes } from "../entry/client_address.ts";
import { childrenOf, type DerValue, objectIdentifierOf, readDer, textOf } from "./der.ts";

/**
 * Reads the names of a certificate that was verified.
 *
 * @param der The certificate itself.
 * @returns undefined when it is not a certificate as RFC 5280 has it.
 */
export function readClientCertificate(der: Uint8Array): ClientCertificate | undefined {
  const fields = childrenOf(childrenOf(readDer(der))?.[0]);
  if (fields === undefined) return undefined;
  const first = fields[0]?.tag === TAG_VERSION ? 1 : 0;
  const attributeSets = attributesOf(fields[first + SUBJECT_INDEX]);
  const alternativeNames = alternativeNamesOf(fields.find(({ tag }) => tag === TAG_EXTENSIONS));
  if (attributeSets === undefined || alternativeNames === undefined) return undefined;
  return { subject: formatSubject(attributeSets), commonName: commonNameOf(attributeSets), alternativeNames };
}

interface Attribute {
  /** Object identifier. */
  readonly type: string;
  readonly value: DerValue;
  /** Undefined when the value is no text. */
  readonly text: string | undefined;
}

/** The sets of a Distinguished Name in their order; one attribute in each, as a rule. */
function attributesOf(name: DerValue | undefined): readonly (readonly Attribute[])[] | undefined {
  const sets = childrenOf(name)?.map((set) => {
    const attributes = childrenOf(set)?.map(attributeOf);
    return attributes?.some((attribute) => attribute === undefined) ? undefined : attributes as Attribute[];
  });
  return sets?.some((set) => set === undefined) ? undefined : sets as Attribute[][];
}

function attributeOf(pair: DerValue): Attribute | undefined {
  const [type, value] = childrenOf(pair) ?? [];
  const identifier = type === undefined ? undefined : objectIdentifierOf(type);
  if (identifier === undefined || value === undefined) return undefined;
  return { type: identifier, value, text: textOf(value) };
}

/** RFC 4514: sets from the last to the first, attributes of one set joined by a plus sign. */
function formatSubject(sets: readonly (readonly Attribute[])[]): string {
  return sets.toReversed().map((set) => set.map(formatAttribute).join("+")).join(",");
}

function formatAttribute({ type, value, text }: Attribute): string {
  const name = ATTRIBUTE_NAMES.get(type);
  if (name !== undefined && text !== undefined) return `${name}=${escapeValue(text)}`;
  return `${name ?? type}=#${Array.from(value.whole, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** RFC 4514, 2.4; control characters are written in hexadecimal too, so that the text is one line wherever it goes. */
function escapeValue(text: string): string {
  return text
    .replace(/[\\"+,;<>]/g, "\\$&")
    .replace(/^[ #]/, "\\$&")
    .replace(/(?<=[^\\]|\\\\) $/, "\\ ")
    .replace(CONTROL_CHARACTER_ALL, (character) => hexPairs(new TextEncoder().encode(character)));
}

function hexPairs(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => `\\${byte.toString(16).padStart(2, "0").toUpperCase()}`).join("");
}

/** The most specific one. */
function commonNameOf(sets: readonly (readonly Attribute[])[]): string | undefined {
  const text = sets.flat().findLast(({ type }) => type === OID_COMMON_NAME)?.text;
  return text === undefined || text === "" || CONTROL_CHARACTER.test(text) ? undefined : text;
}

/** Empty without the extension; undefined when it cannot be read. */
function alternativeNamesOf(extensions: DerValue | undefined): readonly string[] | undefined {
  if (extensions === undefined) return [];
  const list = childrenOf(childrenOf(extensions)?.[0]);
  if (list === undefined) return undefined;
  for (const extension of list) {
    const parts = childrenOf(extension);
    if (parts === undefined) return undefined;
    if (parts[0] === undefined || objectIdentifierOf(parts[0]) !== OID_ALTERNATIVE_NAME) continue;
    const names = childrenOf(readDer(parts.at(-1)!.content));
    return names?.map(formatName).filter((name) => name !== undefined);
  }
  return [];
}

/** `DNS:`, `email:`, `URI:` or `IP:` and the name; other kinds are of no use here. */
function formatName({ tag, content }: DerValue): string | undefined {
  if (tag === TAG_IP_ADDRESS) {
    const address = addressOfBytes(content);
    return address === undefined ? undefined : `IP:${address}`;
  }
  const kind = NAME_KINDS.get(tag);
  if (kind === undefined || content.length === 0 || !content.every((byte) => byte > 0x20 && byte < 0x7f)) {
    return undefined;
  }
  return `${kind}:${String.fromCharCode(...content)}`;
}

/** Fields between version and subject: serial number, algorithm, issuer, validity. */
const SUBJECT_INDEX = 4;
const TAG_VERSION = 0xa0;
const TAG_EXTENSIONS = 0xa3;
const TAG_IP_ADDRESS = 0x87;
const NAME_KINDS: ReadonlyMap<number, string> = new Map([[0x81, "email"], [0x82, "DNS"], [0x86, "URI"]]);
const OID_ALTERNATIVE_NAME = "2.5.29.17";
const OID_COMMON_NAME = "2.5.4.3";
/** Those of RFC 4514, and two more that device certificates have. */
const ATTRIBUTE_NAMES: ReadonlyMap<string, string> = new Map([
  [OID_COMMON_NAME, "CN"],
  ["2.5.4.5", "serialNumber"],
  ["2.5.4.6", "C"],
  ["2.5.4.7", "L"],
  ["2.5.4.8", "ST"],
  ["2.5.4.9", "STREET"],
  ["2.5.4.10", "O"],
  ["2.5.4.11", "OU"],
  ["0.9.2342.19200300.100.1.1", "UID"],
  ["0.9.2342.19200300.100.1.25", "DC"],
  ["1.2.840.113549.1.9.1", "emailAddress"],
]);
// deno-lint-ignore no-control-regex -- these must not reach a log or a name
const CONTROL_CHARACTER = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/;
const CONTROL_CHARACTER_ALL = new RegExp(CONTROL_CHARACTER, "g");
