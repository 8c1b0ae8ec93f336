/**
 * The JSON of ROUTE and CHANGE records, back from bytes. A checksum says that the bytes are those that were written; this
 * file makes sure that what comes out has the shape that its type promises, so that no text can bring a replay down.
 */
import type { Route, RouteReceiver, SessionChange } from "../model/stored.ts";

/** Reads the text of a ROUTE record; undefined when it is none. */
export function decodeRoute(text: Uint8Array): Route | undefined {
  const route = parse(text);
  if (!isObject(route) || !Array.isArray(route.receivers) || !Array.isArray(route.groups)) return undefined;
  if (!route.receivers.every(isReceiver)) return undefined;
  if (!route.groups.every((group) => isObject(group) && isText(group.name) && isText(group.filter))) return undefined;
  return route as unknown as Route;
}

/** Reads the text of a CHANGE record; undefined when it is none. */
export function decodeChange(text: Uint8Array): SessionChange | undefined {
  const change = parse(text);
  return isObject(change) && isChange(change) ? change as unknown as SessionChange : undefined;
}

type JsonObject = { readonly [key: string]: unknown };

function isChange(change: JsonObject): boolean {
  switch (change.kind) {
    case "open":
      return isSession(change.session) && isText(change.clientId) && isNumber(change.sessionExpiryInterval);
    case "offline":
      return isSession(change.session) && isNumber(change.atMs);
    case "subscribe":
      return isSession(change.session) && isSubscription(change.subscription);
    case "unsubscribe":
      return isSession(change.session) && isText(change.filter);
    case "end":
      return isSession(change.session);
    case "will":
      return isText(change.clientId) && isWill(change.will);
    case "will-delayed":
      return isText(change.clientId) && isWill(change.will) && isNumber(change.dueMs);
    case "will-over":
      return isText(change.clientId);
    case "owe":
      return isSession(change.session) && isNumber(change.position) && isNumber(change.flags) &&
        isNumbers(change.identifiers);
    default:
      return false;
  }
}

function isSubscription(value: unknown): boolean {
  return isObject(value) && isText(value.filter) && isQos(value.qos) && isNumber(value.subscriptionIdentifier);
}

function isWill(value: unknown): boolean {
  return isObject(value) && isText(value.topic) && isQos(value.qos) && isText(value.payload) &&
    isText(value.properties) && isNumber(value.willDelayInterval);
}

function isReceiver(value: unknown): value is RouteReceiver {
  if (!isObject(value) || !isSession(value.session) || !isGranted(value)) return false;
  return value.local === undefined || value.local === null || (isObject(value.local) && isGranted(value.local));
}

function isGranted(value: JsonObject): boolean {
  return isQos(value.qos) && isNumbers(value.identifiers);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null;
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isNumber(value: unknown): boolean {
  return typeof value === "number";
}

function isNumbers(value: unknown): boolean {
  return Array.isArray(value) && value.every(isNumber);
}

function isQos(value: unknown): boolean {
  return value === 0 || value === 1 || value === 2;
}

function isSession(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) <= 0xffff_ffff;
}

function parse(text: Uint8Array): unknown {
  try {
    return JSON.parse(DECODER.decode(text));
  } catch {
    return undefined;
  }
}

const DECODER = new TextDecoder("utf-8", { fatal: true });
