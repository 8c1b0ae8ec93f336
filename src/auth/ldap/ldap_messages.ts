/**
 * The few messages of LDAP that telling who a client is takes. [RFC 4511, 4]
 *
 *     LDAPMessage ::= SEQUENCE { messageID INTEGER, operation [APPLICATION n], controls [0] OPTIONAL }
 *
 *     30 0c  02 01 01  60 07  02 01 03  04 00  80 00      BindRequest number 1, version 3, no name, no password
 *     30 0c  02 01 01  61 07  0a 01 00  04 00  04 00      its BindResponse: success
 *
 * Requests are bytes, answers are values. Of an answer only what is needed is read; texts that the server adds for
 * people are not, because a server may repeat in them what it was told.
 */
import { BerReader, element, MalformedLdap, numberElement, Tag, textElement, textOf } from "./ldap_ber.ts";

/** Result codes that mean something here. [RFC 4511, 4.1.9] */
export const ResultCode = {
  SUCCESS: 0,
  SIZE_LIMIT_EXCEEDED: 4,
  CONSTRAINT_VIOLATION: 19,
  NO_SUCH_OBJECT: 32,
  INVALID_DN_SYNTAX: 34,
  INAPPROPRIATE_AUTHENTICATION: 48,
  INVALID_CREDENTIALS: 49,
  INSUFFICIENT_ACCESS_RIGHTS: 50,
  UNWILLING_TO_PERFORM: 53,
} as const;

/** What to look for. */
export interface Search {
  readonly base: string;
  /** `base` is the entry itself, `subtree` the entry and everything below. */
  readonly scope: "base" | "subtree";
  /** Encoded; see `FilterTemplate.encode`. */
  readonly filter: Uint8Array;
  /** Attributes that are wanted; `1.1` for none. */
  readonly attributes: readonly string[];
  readonly entriesMax: number;
  readonly timeLimitSeconds: number;
}

/** One entry that was found. */
export interface Entry {
  readonly dn: string;
  /** By name in small letters; values that are no text are left out. */
  readonly attributes: ReadonlyMap<string, readonly string[]>;
}

/** One message of the server. */
export type Answer =
  | { readonly kind: "result"; readonly messageId: number; readonly tag: number; readonly code: number }
  | { readonly kind: "entry"; readonly messageId: number; readonly entry: Entry }
  /** Elsewhere there may be more; not followed. */
  | { readonly kind: "reference"; readonly messageId: number };

/** Tags of the answers that end an operation. */
export const AnswerTag = { BIND: 0x61, SEARCH: 0x65, EXTENDED: 0x78 } as const;

/** Simple authentication. [RFC 4511, 4.2] */
export function bindRequest(messageId: number, dn: string, password: Uint8Array): Uint8Array<ArrayBuffer> {
  const version = numberElement(Tag.INTEGER, 3);
  return message(messageId, element(0x60, version, textElement(Tag.OCTET_STRING, dn), element(0x80, password)));
}

/** A search that follows no aliases. [RFC 4511, 4.5.1] */
export function searchRequest(messageId: number, search: Search): Uint8Array<ArrayBuffer> {
  const operation = element(
    0x63,
    textElement(Tag.OCTET_STRING, search.base),
    numberElement(Tag.ENUMERATED, search.scope === "base" ? 0 : 2),
    numberElement(Tag.ENUMERATED, 0),
    numberElement(Tag.INTEGER, search.entriesMax),
    numberElement(Tag.INTEGER, search.timeLimitSeconds),
    element(Tag.BOOLEAN, Uint8Array.of(0)),
    search.filter,
    element(Tag.SEQUENCE, ...search.attributes.map((attribute) => textElement(Tag.OCTET_STRING, attribute))),
  );
  return message(messageId, operation);
}

/** Asks for TLS on this connection. [RFC 4511, 4.14] */
export function startTlsRequest(messageId: number): Uint8Array<ArrayBuffer> {
  return message(messageId, element(0x77, textElement(0x80, "1.3.6.1.4.1.1466.20037")));
}

/** Says goodbye; it has no answer. [RFC 4511, 4.3] */
export function unbindRequest(messageId: number): Uint8Array<ArrayBuffer> {
  return message(messageId, element(0x42));
}

/**
 * Reads one whole message of the server.
 *
 * @throws MalformedLdap when it is none, or one that answers nothing we ask.
 */
export function readAnswer(bytes: Uint8Array): Answer {
  const envelope = new BerReader(bytes).inside(Tag.SEQUENCE);
  const messageId = envelope.number(Tag.INTEGER);
  const tag = envelope.nextTag;
  switch (tag) {
    case AnswerTag.BIND:
    case AnswerTag.SEARCH:
    case AnswerTag.EXTENDED:
      return { kind: "result", messageId, tag, code: envelope.inside(tag).number(Tag.ENUMERATED) };
    case 0x64:
      return { kind: "entry", messageId, entry: readEntry(envelope.inside(tag)) };
    case 0x73:
      return { kind: "reference", messageId };
    default:
      throw new MalformedLdap("an answer is none that was asked for");
  }
}

function message(messageId: number, operation: Uint8Array): Uint8Array<ArrayBuffer> {
  return element(Tag.SEQUENCE, numberElement(Tag.INTEGER, messageId), operation);
}

function readEntry(reader: BerReader): Entry {
  const dn = reader.text();
  const attributes = new Map<string, readonly string[]>();
  const list = reader.inside(Tag.SEQUENCE);
  while (!list.isAtEnd) {
    const attribute = list.inside(Tag.SEQUENCE);
    const name = attribute.text().toLowerCase();
    const values: string[] = [];
    const set = attribute.inside(Tag.SET);
    while (!set.isAtEnd) {
      const value = textOf(set.content(Tag.OCTET_STRING));
      if (value !== undefined) values.push(value);
    }
    attributes.set(name, values);
  }
  return { dn, attributes };
}
