/**
 * The options of tokens and of the servers that know users: JSON Web Tokens, LDAP and HTTP.
 */

import { wordList } from "../kinds/list_types.ts";
import { option } from "../kinds/option.ts";
import { url } from "../kinds/url_type.ts";
import { boolean, durationMs, integer, optionalPath, optionalText, seconds, text } from "../kinds/value_types.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const HTTP = { protocols: ["https", "http"], isHostOnly: false };

const jwt = {
  keyFile: option({
    key: "auth.jwt.key-file",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    doc:
      "File with the public keys that tokens are signed for: PEM keys or certificates, or a JSON Web Key Set. Its content " +
      "is taken over when it changes.",
  }),
  secretFile: option({
    key: "auth.jwt.secret-file",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    doc: "File with the secret of tokens signed with HS256, HS384 or HS512. Its content is taken over when it changes.",
  }),
  jwksUrl: option({
    key: "auth.jwt.jwks-url",
    type: url(HTTP),
    defaultText: "",
    reload: "restart",
    doc: "Where the JSON Web Key Set with the public keys is fetched.",
  }),
  jwksCacheMs: option({
    key: "auth.jwt.jwks-cache",
    type: durationMs({ min: 1000, max: DAY_MS }),
    defaultText: "10m",
    reload: "restart",
    doc: "How long fetched keys are used before they are fetched again.",
  }),
  algorithms: option({
    key: "auth.jwt.algorithms",
    type: wordList(
      "HS256",
      "HS384",
      "HS512",
      "RS256",
      "RS384",
      "RS512",
      "PS256",
      "PS384",
      "PS512",
      "ES256",
      "ES384",
      "ES512",
      "EdDSA",
    ),
    defaultText: "",
    reload: "restart",
    doc: "Algorithms that are accepted; without it those that fit the kind of each key.",
  }),
  issuer: option({
    key: "auth.jwt.issuer",
    type: optionalText(),
    defaultText: "",
    reload: "restart",
    doc: "What the claim `iss` has to be; without it the claim is not looked at.",
  }),
  audience: option({
    key: "auth.jwt.audience",
    type: optionalText(),
    defaultText: "",
    reload: "restart",
    doc: "What the claim `aud` has to hold; without it the claim is not looked at.",
  }),
  usernameClaim: option({
    key: "auth.jwt.username-claim",
    type: text(),
    defaultText: "sub",
    reload: "restart",
    doc: "Claim that holds the username.",
  }),
  groupsClaim: option({
    key: "auth.jwt.groups-claim",
    type: text(),
    defaultText: "groups",
    reload: "restart",
    doc: "Claim that holds the groups of the user, if it is there.",
  }),
  aclClaim: option({
    key: "auth.jwt.acl-claim",
    type: text(),
    defaultText: "acl",
    reload: "restart",
    doc: "Claim that holds rules about topics, if it is there.",
  }),
  leewaySeconds: option({
    key: "auth.jwt.leeway",
    type: seconds({ min: 0, max: 3600 }),
    defaultText: "5s",
    reload: "restart",
    doc: "By how much the clocks of broker and issuer may differ.",
  }),
  requireExpiry: option({
    key: "auth.jwt.require-expiry",
    type: boolean(),
    defaultText: "true",
    reload: "restart",
    doc: "Whether tokens without the claim `exp` are refused.",
  }),
  timeoutMs: option({
    key: "auth.jwt.timeout",
    type: durationMs({ min: 1, max: MINUTE_MS }),
    defaultText: "5s",
    reload: "restart",
    doc: "Time within which `auth.jwt.jwks-url` has to answer.",
  }),
};

const ldap = {
  url: option({
    key: "auth.ldap.url",
    type: url({ protocols: ["ldaps", "ldap"], isHostOnly: true }),
    defaultText: "",
    reload: "restart",
    doc: "The directory server. `ldap` without `auth.ldap.start-tls` sends passwords in the clear.",
  }),
  startTls: option({
    key: "auth.ldap.start-tls",
    type: boolean(),
    defaultText: "false",
    reload: "restart",
    doc: "Whether an `ldap` connection is secured with StartTLS before anything else; without success it is not used.",
  }),
  caFile: option({
    key: "auth.ldap.ca-file",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    doc:
      "PEM file with the authorities that sign the certificate of the server; without it those of the runtime count. Its " +
      "content is taken over when it changes.",
  }),
  bindDn: option({
    key: "auth.ldap.bind-dn",
    type: optionalText(),
    defaultText: "",
    reload: "restart",
    doc: "Name under which the broker searches; without it it searches anonymously.",
  }),
  bindPasswordFile: option({
    key: "auth.ldap.bind-password-file",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    doc: "File with the password of `auth.ldap.bind-dn`. Its content is taken over when it changes.",
  }),
  userDn: option({
    key: "auth.ldap.user-dn",
    type: optionalText(),
    defaultText: "",
    reload: "restart",
    doc: "Name of a user in the directory, with `{username}` in it, for users who are not searched for, such as " +
      "`uid={username},ou=people,dc=example,dc=org`.",
  }),
  searchBase: option({
    key: "auth.ldap.search-base",
    type: optionalText(),
    defaultText: "",
    reload: "restart",
    doc: "Where in the directory users are searched for, in place of `auth.ldap.user-dn`.",
  }),
  searchFilter: option({
    key: "auth.ldap.search-filter",
    type: text(),
    defaultText: "(uid={username})",
    reload: "restart",
    doc: "Filter that finds a user, with `{username}` in it.",
  }),
  groupBase: option({
    key: "auth.ldap.group-base",
    type: optionalText(),
    defaultText: "",
    reload: "restart",
    doc:
      "Where in the directory the groups of a user are searched for; without it users have no groups from the directory.",
  }),
  groupFilter: option({
    key: "auth.ldap.group-filter",
    type: text(),
    defaultText: "(member={dn})",
    reload: "restart",
    doc: "Filter that finds the groups of a user, with `{dn}` or `{username}` in it.",
  }),
  groupAttribute: option({
    key: "auth.ldap.group-attribute",
    type: text(),
    defaultText: "cn",
    reload: "restart",
    doc: "Attribute that holds the name of a group.",
  }),
  timeoutMs: option({
    key: "auth.ldap.timeout",
    type: durationMs({ min: 1, max: MINUTE_MS }),
    defaultText: "5s",
    reload: "restart",
    doc: "Time within which the directory has to answer; a client whose answer does not come is refused.",
  }),
  connections: option({
    key: "auth.ldap.connections",
    type: integer({ min: 1, max: 256 }),
    defaultText: "4",
    reload: "restart",
    doc: "Most connections to the directory at one time.",
  }),
};

const http = {
  url: option({
    key: "auth.http.url",
    type: url(HTTP),
    defaultText: "",
    reload: "restart",
    doc: "Where the credentials of a client are sent with POST to be judged.",
  }),
  aclUrl: option({
    key: "auth.http.acl-url",
    type: url(HTTP),
    defaultText: "",
    reload: "restart",
    doc: "Where the rules about topics of a client are asked for with POST, once per connection.",
  }),
  tokenFile: option({
    key: "auth.http.token-file",
    type: optionalPath(),
    defaultText: "",
    reload: "restart",
    doc: "File with the bearer token that the broker shows to both URLs. Its content is taken over when it changes.",
  }),
  timeoutMs: option({
    key: "auth.http.timeout",
    type: durationMs({ min: 1, max: MINUTE_MS }),
    defaultText: "5s",
    reload: "restart",
    doc: "Time within which an answer has to come; a client whose answer does not come is refused.",
  }),
  cacheTtlMs: option({
    key: "auth.http.cache-ttl",
    type: durationMs({ min: 0, max: DAY_MS }),
    defaultText: "60s",
    reload: "restart",
    doc: "How long an answer is used again for the same question; 0 = never.",
  }),
  cacheSize: option({
    key: "auth.http.cache-size",
    type: integer({ min: 0, max: 1_000_000 }),
    defaultText: "10000",
    reload: "restart",
    doc: "Most answers that are kept.",
  }),
  concurrency: option({
    key: "auth.http.concurrency",
    type: integer({ min: 1, max: 1024 }),
    defaultText: "32",
    reload: "restart",
    doc: "Most questions under way at one time.",
  }),
};

/** The options of sections `auth.jwt`, `auth.ldap` and `auth.http`. */
export const backends = { jwt, ldap, http };
