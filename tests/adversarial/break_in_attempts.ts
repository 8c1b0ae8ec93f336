/**
 * What was tried to break into a broker, door by door: how it is done, and what must come of it.
 *
 * The tests `break_in_*_test.ts` play every attempt of this table; a door without one of its attempts, or with one that
 * is not here, does not compile. `docs/attempts.md` is this table as text, compared by `break_in_table_test.ts`.
 */
import type { Attempt } from "../support/break_in.ts";

/** How an attempt is made, and its outcome. */
type Row = readonly [how: string, outcome: string];

const BAD = "refused, 0x86";
const NO = "refused, 0x87";
const CUT = "closed without CONNACK";
const THEIRS = "refused, 0x85; the owner keeps it";
const NOT_SENT = "not acknowledged or 0x87; nobody gets it";
const NOT_GRANTED = "SUBACK 0x87";

/** All attempts by door. */
export const ATTEMPTS = {
  "passwords": {
    "no credentials": ["CONNECT of each version; behind a proxy that says 127.0.0.1", NO],
    "empty name, empty password": ["each alone, and both", BAD],
    "name without password": ["name of an administrator", BAD],
    "empty password": ["name of an administrator", BAD],
    "wrong password": ["name of an administrator", BAD],
    "right password and more": ["one more character", BAD],
    "right password cut short": ["one character less", BAD],
    "password of another user": ["own password, name of an administrator", BAD],
    "stored hash as password": ["the line of the password file", BAD],
    "password without name": ["MQTT 5 allows it", BAD],
    "other spellings of a name": ["case, blanks, look-alikes, combining marks, line feed", BAD],
    "name with a zero byte": ["`alice`, zero, more", CUT],
    "name with broken UTF-8": ["`alice` and a byte that is no UTF-8", CUT],
    "name of 65 535 bytes": ["the longest there is", BAD],
    "name with a wildcard": ["`*`, `%u`, `#`, `+`, a pattern", BAD],
    "name that every object has": ["`__proto__`, `constructor`", BAD],
    "password flag without name flag": ["MQTT 3.1.1, where it is not allowed", CUT],
    "second CONNECT as another user": ["on a connection that is let in", "closed, 0x82"],
    "packets before CONNECT": ["PUBLISH, SUBSCRIBE, PINGREQ, AUTH, DISCONNECT", CUT],
    "packets while the password is checked": ["PUBLISH right behind CONNECT", `${BAD}; the message is dropped`],
    "refusals that tell users apart": ["known and unknown name", "the same CONNACK"],
  },
  "tokens": {
    "algorithm none": ["`none` in several spellings, no signature", BAD],
    "public key as shared secret": ["HS256 with the text of the RSA key", BAD],
    "empty shared secret": ["HS256 with no secret", BAD],
    "key of the attacker": ["RS256, right claims", BAD],
    "signature left out": ["genuine token", BAD],
    "signature of another token": ["genuine signature, other claims", BAD],
    "header changed after signing": ["genuine token, another header", BAD],
    "key in the header": ["`jwk`", BAD],
    "address of a key in the header": ["`jku` and `x5u`", `${BAD}; the address is not asked`],
    "certificate in the header": ["`x5c`", BAD],
    "name of a key that is a path": ["`kid` with paths, quotes, a zero, 5000 characters, an object", BAD],
    "critical extension": ["`crit`, `b64`, also signed by the issuer", BAD],
    "claim given twice": ["`sub` twice; own token with another name", BAD],
    "token that has expired": ["genuine, `exp` in the past", BAD],
    "token without end": ["no `exp`, or one that is no time, or beyond all times", BAD],
    "token from the future": ["genuine, `nbf` or `iat` to come", BAD],
    "token for another audience": ["genuine, other `aud`", BAD],
    "token of another issuer": ["genuine, other `iss`", BAD],
    "token of another user": ["genuine, CONNECT names somebody else", BAD],
    "token without a usable name": ["`sub` empty, with controls, too long, no text", BAD],
    "token of 64 KiB": ["the longest password there is", BAD],
    "encrypted token": ["five parts", BAD],
    "token with white space": ["blank, line feed, `=`, zero behind it", BAD],
    "token in place of the name": ["genuine token as User Name", BAD],
    "rules of its own in an unsigned token": ["`acl` for everything", BAD],
  },
  "SCRAM": {
    "wrong password": ["a whole exchange", NO],
    "user that does not exist": ["a whole exchange", NO],
    "user without a verifier": ["right password of a user kept with another hash", NO],
    "stored verifier in place of the password": ["StoredKey of the password file as ClientKey", NO],
    "empty proof": ["`p=` without anything", NO],
    "proof of zeros": ["32 zero bytes", NO],
    "proof of a former exchange": ["last message of a recorded login", NO],
    "proof of a former exchange under the new nonce": ["recorded proof, present nonce", NO],
    "nonce of the client alone": ["without the part of the server", NO],
    "nonce chosen by the client": ["the same twice", "the server's part differs"],
    "iterations lowered by the client": ["proof computed with one iteration", NO],
    "channel binding asked for": ["`p=tls-unique`", NO],
    "channel binding flag changed": ["`y,,` in the last message only", NO],
    "identity to act for": ["`a=` with another user", NO],
    "extension that must be understood": ["`m=`", NO],
    "name given twice": ["own name, then another's", NO],
    "name with bad escapes": ["lone `=`, control characters", NO],
    "nonce that is not one": ["empty, blank, not ASCII, too long", NO],
    "no message, or not text": ["no Authentication Data, no UTF-8", NO],
    "last message first": ["client-final in CONNECT", NO],
    "method that does not exist": ["PLAIN, EXTERNAL, -PLUS, other spelling", "refused, 0x8C"],
    "method beside a right password of another": ["SCRAM with a wrong one, CONNECT with a right one", NO],
    "another method in the middle": ["AUTH names PLAIN", CUT],
    "messages in the middle": ["PUBLISH, SUBSCRIBE, PINGREQ, CONNECT", CUT],
    "claim of success from the client": ["AUTH 0x00 and 0x19", CUT],
    "flood of AUTH": ["200 answers to one challenge", CUT],
    "challenge that tells users apart": ["known and unknown name", "same lengths, same iterations, lasting salt"],
    "AUTH without an exchange": ["after a login with a password", "closed, 0x82"],
    "re-authentication as another user": ["with right and wrong password", "closed, 0x87 in both cases"],
  },
  "TLS and certificates": {
    "no certificate": ["on a listener that requires one", "closed"],
    "no certificate, right password": ["on a listener that requires one", "closed"],
    "certificate signed by itself": ["name of an administrator", "closed"],
    "certificate of another authority": ["name of an administrator", "closed"],
    "certificate of an authority of the same name": ["other key", "closed"],
    "certificate of the authority of servers": ["the one that signed the broker's", "closed"],
    "certificate that has expired": ["of the right authority", "closed"],
    "certificate signed by a client certificate": ["which is no authority", "closed"],
    "certificate without its key": ["a copied certificate", "no handshake"],
    "genuine certificate, name of another user": ["User Name of CONNECT", BAD],
    "two names in one certificate": ["two Common Names; a comma in a value", BAD],
    "certificate without a name": ["name elsewhere in the subject", NO],
    "certificate at a listener that asks for none": ["genuine certificate", NO],
    "session resumed from another listener": ["TLS 1.2 and 1.3, session of a listener without certificates", "closed"],
    "TLS 1.0 and 1.1": ["each listener", "no handshake"],
    "hello of SSL 2 and of TLS 1.0 by hand": ["bytes", "closed"],
    "MQTT in the clear at a listener of TLS": ["right password", CUT],
    "TLS at a listener in the clear": ["handshake", "closed"],
    "MQTT in the clear within a handshake": ["behind the begin of a record", CUT],
    "strange server names and protocols": ["SNI, ALPN", "closed without a certificate"],
    "two hundred half handshakes": ["and one honest client", "the honest client is served"],
  },
  "proxies": {
    "header from a stranger": ["PROXY header from an address that is no proxy's", CUT],
    "no header": ["on a listener that expects one", CUT],
    "header where none is expected": ["right password behind it", CUT],
    "header after CONNECT": ["right password", CUT],
    "second header": ["the first tells the truth", CUT],
    "client of another host at a listener for this host": ["versions 1 and 2, IPv4 and IPv6", NO],
    "client that nobody knows at a listener for this host": ["UNKNOWN, unspecified family", NO],
    "addresses that only look like this host": ["`127.1`, `0x7f…`, zone, mapped", `${CUT}, or 0x87`],
    "line that is not quite a header": ["case, line ends, ports, too long", CUT],
    "binary header with wrong lengths": ["short, long, TLVs, checksum, version, family", CUT],
    "proxy that speaks for itself, with an address": ["LOCAL with 127.0.0.1", NO],
    "user by way of a header": ["names in TLVs", NO],
  },
  "WebSocket": {
    "page of another site": ["Origin in many spellings, listener for this host", NO],
    "claim to come from this host": ["X-Forwarded-For, Forwarded, X-Real-IP, Via", NO],
    "no credentials": ["usual listener", NO],
    "credentials in the request": ["Authorization, Cookie", NO],
    "request with a body": ["Content-Length, Transfer-Encoding, both, odd ones", "HTTP error, closed"],
    "request with hidden fields": ["blank before the colon, folding, lone line ends, zero", "HTTP error, closed"],
    "request with two hosts, or none": ["Host", "HTTP error, closed"],
    "request of another version or method": ["HTTP/1.0, HTTP/2 preface, POST, CONNECT", "HTTP error, closed"],
    "request for another path": ["`..`, `//`, escapes, absolute", "HTTP error, closed"],
    "second request on a refused connection": ["a right one behind a wrong one", "HTTP error, closed"],
    "request without the subprotocol": ["`chat`", "HTTP error, closed"],
    "request without end": ["4000 fields", "HTTP error, closed"],
    "MQTT without a request": ["right password", "HTTP error, closed"],
    "CONNECT in text, or not masked": ["right password", "closed without CONNACK"],
  },
  "Sessions": {
    "taking over a connected Session": ["each version, Clean Start and not, password and token", THEIRS],
    "taking over a Session that waits": ["the same, with a message in its queue", `${THEIRS}, and the message`],
    "other spelling of a Client Identifier": ["case, blank, look-alike", "another Session"],
    "Client Identifier with a zero byte": ["name of the victim, zero", CUT],
    "race for a Session between two users": ["both send CONNECT at once, twenty times", "one gets it, the other 0x85"],
    "Will Message on a forbidden topic": ["also retained, also `$SYS`", NO],
    "Will Message beyond what is allowed": ["QoS and RETAIN", NO],
    "Will Message in place of the owner's": ["takeover with another Will", `${THEIRS}, and its Will Message`],
  },
  "topics": {
    "publishing where it is forbidden": ["QoS 0, 1 and 2, with and without RETAIN", NOT_SENT],
    "publishing with MQTT 3.1.1 where it is forbidden": ["QoS 0, 1 and 2", "nobody gets it"],
    "publishing beyond what is allowed": ["QoS and RETAIN", NOT_SENT],
    "publishing to topics with wildcards": ["`#` in a Topic Name", "closed"],
    "publishing to $SYS and $share": ["also by who may everything", NOT_SENT],
    "Will Message to $SYS of who may everything": ["retained", "nobody gets it"],
    "Topic Alias of an allowed topic for a forbidden one": ["alias set anew by a refused PUBLISH", NOT_SENT],
    "Topic Alias that a refused PUBLISH has set": ["used afterwards", NOT_SENT],
    "Topic Alias of another connection": ["used without being set", "closed, 0x82"],
    "Packet Identifier of an allowed message for a forbidden one": ["sent again with another topic", NOT_SENT],
    "PUBREL of a message that was refused": ["QoS 2", NOT_SENT],
    "response topic that is forbidden to read": ["Response Topic of another user", NOT_GRANTED],
    "subscribing to everything": ["`#`, `+/#`, `$SYS/#` and narrower ones", NOT_GRANTED],
    "subscribing around a rule that denies": ["wildcards above what is denied", NOT_GRANTED],
    "subscribing through a group": ["`$share/g/…`, malformed ones too", NOT_GRANTED],
    "joining a group of another user": ["same group, same filter", `${NOT_GRANTED}; the member gets the job`],
    "Retained Messages of forbidden topics": ["filters that match them", NOT_GRANTED],
    "placeholder with the name of all": ["users `+`, `#`, `a/b`, `%c`, by token", NOT_GRANTED],
    "Client Identifier with the name of all": ["clients `+`, `#`, `+/#`", NOT_GRANTED],
  },
  "host, log and metrics": {
    "Unix socket without credentials": ["CONNECT", NO],
    "Unix socket of another user": ["rights of its file", "0600"],
    "Client Identifier and name that forge log lines": ["line feed, JSON, control characters", "no line of its own"],
    "names of metrics from a client": ["line feed and quotes in names", "not in `/metrics`"],
    "secrets in what the admin server says": ["all paths, and some that are none", "no secret"],
    "secrets in the configuration that is shown": ["`promptmq config show`", "no secret"],
    "slow CONNECT": ["fifty that stop in the middle", "closed; others are served"],
    "slow request": ["fifty that stop in the middle", "closed; others are served"],
    "slow handshake": ["fifty that stop in the middle", "closed; others are served"],
    "slow PROXY header": ["fifty that stop in the middle", "closed; others are served"],
    "slow CONNECT within TLS": ["twenty that stop in the middle", "closed; others are served"],
    "exchange that is never finished": ["fifty that answer no challenge", "closed"],
    "packet of 256 MiB": ["announced, and a length of five bytes", CUT],
    "CONNECT of nearly 1 MiB": ["100 000 User Properties", BAD],
    "subscriptions beyond the limit": ["1500 in one SUBSCRIBE, 1000 allowed", "500 get 0x97"],
    "Topic Aliases that fill the memory": ["6 MB of topics", "closed"],
    "messages beyond Receive Maximum": ["QoS 2 without PUBREL", "closed, 0x93"],
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Row>>>>;

/** Attempts that need a broker of their own; the names of their tests. */
export const SINGLE_ATTEMPTS: Readonly<Record<string, Row>> = {
  "a flood of guesses is slowed down and turned away, other addresses are served": [
    "104 guesses from one address",
    "0x86, then no answer or 0x9F; a client of another address gets in",
  ],
  "a Session whose record is waited for belongs to who opened it already": [
    "CONNECT of another user, Clean Start and not, before the store has committed",
    "refused, 0x85; the owner keeps it",
  ],
  "a narrower token for a Session of the same user hears nothing that it may not": [
    "Session with a wide subscription, resumed with a token that denies it, with `auth.recheck-on-deliver`",
    "no message",
  ],
  "rules that become a link to a device change nothing": ["`/dev/zero`", "refused in the log; the rules before hold"],
  "rules that become a link to a pipe change nothing": ["nobody writes", "refused in the log; the rules before hold"],
  "rules that become a link to a directory change nothing": ["its own", "refused in the log; the rules before hold"],
  "rules that become a link to a nothing change nothing": ["dangling", "refused in the log; the rules before hold"],
  "rules of a server that is down let nobody in": ["right passwords", "refused, 0x88"],
  "a socket path that leads to a file of somebody else is not followed": ["link to a file", "no start; the file stays"],
  "a password file that everybody may read is warned of": ["rights 0644", "a warning at the start"],
};

/** The bodies of all attempts at a door. */
export type Attempts<D extends keyof typeof ATTEMPTS> = Readonly<Record<keyof typeof ATTEMPTS[D], Attempt>>;

/** The table as Markdown. */
export function formatAttempts(): string {
  const doors = [
    ...Object.entries<Readonly<Record<string, Row>>>(ATTEMPTS),
    ["other attempts", SINGLE_ATTEMPTS] as const,
  ];
  const sections = doors.map(([door, attempts]) => {
    const rows = Object.entries(attempts).map(([name, row]) => [name, ...row].map(cell));
    return [`## ${door[0]!.toUpperCase()}${door.slice(1)}`, "", ...tableOf([["attempt", "how", "outcome"], ...rows])];
  });
  return [INTRODUCTION, ...sections.map((lines) => `${lines.join("\n")}\n`)].join("\n");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

/** Padded as the formatter wants it. */
function tableOf(rows: readonly (readonly string[])[]): string[] {
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) => `| ${row.map((text, column) => text.padEnd(widths[column]!)).join(" | ")} |`);
  return [lines[0]!, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...lines.slice(1)];
}

const INTRODUCTION = `# Attempts to break in

What was tried against a broker that is configured with care: nobody anonymous, a password file with SCRAM, tokens,
client certificates, rules, TLS, a listener behind a proxy, WebSocket and a Unix socket. Every attempt is a test,
\`tests/adversarial/break_in_*_test.ts\`; after those of a section, nothing was published or planted, no secret is in the
log or in \`/metrics\`, and an honest client is served. This page is made from the table of the tests.
`;
