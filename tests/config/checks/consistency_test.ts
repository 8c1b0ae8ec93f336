/**
 * What good values may contradict each other in: one row per rule with the exact line, and the nearest configuration that
 * breaks none.
 */

import assert from "node:assert/strict";
import { problemsOf } from "../../../src/config/checks/consistency.ts";
import { loadGiven, problemsOfGiven } from "../loading.ts";

/** Name, a file that breaks the rule, its problems. */
type Row = readonly [string, string, readonly string[]];

const CERT_AND_KEY = "TLS needs a certificate and its key as PEM files";
const CLIENT_CA = "which needs the authorities that sign the certificates of clients as a PEM file";

const LISTENERS: readonly Row[] = [
  ["TLS without certificate and key, once for both listeners", "server: {tls: true}", [
    `server.tls-cert: missing; ${CERT_AND_KEY}`,
    `server.tls-key: missing; ${CERT_AND_KEY}`,
  ]],
  ["a listed TLS listener without a key anywhere", "listeners: [{name: a, type: tls, bind: 1, tls: {cert: c}}]", [
    `listeners[0].tls.key or server.tls-key: missing; ${CERT_AND_KEY}`,
  ]],
  ["client certificates without authorities", "server: {tls: on, tls-cert: c, tls-key: k, tls-client-auth: optional}", [
    `server.tls-ca: missing; server.tls-client-auth is optional, ${CLIENT_CA}`,
  ]],
  [
    "client certificates without authorities in the list",
    "listeners: [{name: a, type: wss, bind: 1, tls: {cert: c, key: k, client-auth: require}}]",
    [
      "listeners[0].tls.ca or server.tls-ca: missing; listeners[0].tls.client-auth or server.tls-client-auth is require, " +
      CLIENT_CA,
    ],
  ],
  ["TLS that is prepared and not used", "server: {tls-cert: c, tls-key: k, tls-ca: a, tls-client-auth: require}", [
    "server.tls-cert: no listener uses TLS; set server.tls to true, or remove server.tls-cert",
    "server.tls-key: no listener uses TLS; set server.tls to true, or remove server.tls-key",
    "server.tls-client-auth: no listener uses TLS; set server.tls to true, or remove server.tls-client-auth",
    "server.tls-ca: no client is asked for a certificate; set server.tls-client-auth, or remove it",
  ]],
  ["authorities that no client is asked about", "server: {tls: true, tls-cert: c, tls-key: k, tls-ca: a}", [
    "server.tls-ca: no client is asked for a certificate; set server.tls-client-auth, or remove it",
  ]],
  [
    "authorities of one listener that asks no client",
    "server: {tls: true, tls-cert: c, tls-key: k}\nlisteners: [{name: a, type: tls, bind: 1, tls: {ca: a}}]",
    ["listeners[0].tls.ca: no client is asked for a certificate; set listeners[0].tls.client-auth, or remove it"],
  ],
  ["a PROXY protocol without proxies", "server: {proxy-protocol: true, ws-bind: '', trusted-proxies: []}", [
    "server.proxy-protocol: nobody may send the header; name the proxies in server.trusted-proxies, or set it to false",
  ]],
  [
    "a PROXY protocol of the list without proxies",
    "server: {trusted-proxies: ''}\nlisteners: [{name: a, type: tcp, bind: 1, proxy-protocol: true}]",
    [
      "listeners[0].proxy-protocol: nobody may send the header; name the proxies in server.trusted-proxies, " +
      "or set it to false",
    ],
  ],
  [
    "names that two listeners have",
    "listeners: [{name: ws, type: tcp, bind: 1}, {name: a, type: tcp, bind: 2}, {name: a, type: ws, bind: 3}]",
    [
      "listeners[0].name: ws is the name of server.ws-bind as well; choose another",
      "listeners[2].name: a is the name of listeners[1] as well; choose another",
    ],
  ],
  [
    "addresses that two listeners have",
    "server: {bind: 'LocalHost:7', unix-socket: /s}\nlisteners: [{name: a, type: ws, bind: 'localhost:7'}, " +
    "{name: b, type: unix, path: /s}]",
    [
      "listeners[0]: listens on localhost:7 like server.bind; choose another address or remove one of them",
      "listeners[1]: listens on /s like server.unix-socket; choose another address or remove one of them",
    ],
  ],
  ["listeners without an address", "listeners: [{name: a, type: ws}, {name: b, type: unix}]", [
    "listeners[0].bind: missing; give the address to listen on",
    "listeners[1].path: missing; give the path of the socket",
  ]],
  ["what a Unix socket cannot have", "listeners: [{name: b, type: unix, path: /s, bind: 1, proxy-protocol: true}]", [
    "listeners[0].bind: without meaning for type unix; give the path of the socket in listeners[0].path",
    "listeners[0].proxy-protocol: without meaning for type unix; remove it",
  ]],
  [
    "TLS keys on a listener without TLS",
    "listeners: [{name: a, type: tcp, bind: 1, path: /a, tls: {cert: c, client-auth: none}}]",
    [
      "listeners[0].path: without meaning for type tcp; remove it, or set listeners[0].type to ws, wss or unix",
      "listeners[0].tls.cert: without meaning for type tcp; set listeners[0].type to tls or wss, or remove it",
      "listeners[0].tls.client-auth: without meaning for type tcp; set listeners[0].type to tls or wss, or remove it",
    ],
  ],
  ["a path that no URL has", "listeners: [{name: a, type: ws, bind: 1, path: 'm?q'}]", [
    "listeners[0].path: no URL path; it starts with / and holds no white space, query or fragment",
  ]],
  [
    "paths of sockets that are too long",
    `server: {unix-socket: ${"s".repeat(108)}}\nlisteners: [{name: a, type: unix, path: ${"ü".repeat(54)}}]`,
    [
      "listeners[0].path: a path of 108 bytes; a socket has at most 107, choose a shorter one",
      "server.unix-socket: a path of 108 bytes; a socket has at most 107, choose a shorter one",
    ],
  ],
];

const LDAP = "url: 'ldaps://h', search-base: dc=x";

const AUTH: readonly Row[] = [
  ["a provider that is to be asked twice", "auth: {chain: [jwt, ldap, jwt]}", [
    "auth.chain: names jwt twice; a provider is asked once, remove one of them",
  ]],
  [
    "providers that are configured and not asked",
    "auth: {chain: [certificate], password-file: p, jwt: {key-file: k, secret-file: s}, http: {url: 'http://h'}, " +
    `ldap: {${LDAP}}}`,
    [
      "auth.chain: does not name password-file, so that auth.password-file would have no effect; " +
      "add it, or remove auth.password-file",
      "auth.chain: does not name jwt, so that auth.jwt.key-file and auth.jwt.secret-file would have no effect; " +
      "add it, or remove auth.jwt.key-file and auth.jwt.secret-file",
      "auth.chain: does not name ldap, so that auth.ldap.url would have no effect; add it, or remove auth.ldap.url",
      "auth.chain: does not name http, so that auth.http.url would have no effect; add it, or remove auth.http.url",
    ],
  ],
  ["settings of tokens without a key", "auth: {jwt: {issuer: i, audience: a, algorithms: RS256}}", [
    "auth.jwt.algorithms: would have no effect; set auth.jwt.key-file, auth.jwt.secret-file or auth.jwt.jwks-url, " +
    "or remove it",
    "auth.jwt.issuer: would have no effect; set auth.jwt.key-file, auth.jwt.secret-file or auth.jwt.jwks-url, " +
    "or remove it",
    "auth.jwt.audience: would have no effect; set auth.jwt.key-file, auth.jwt.secret-file or auth.jwt.jwks-url, " +
    "or remove it",
  ]],
  ["algorithms with a secret and only public keys", "auth: {jwt: {key-file: k, algorithms: [RS256, HS256]}}", [
    "auth.jwt.algorithms: HS256 needs a secret; set auth.jwt.secret-file, or remove HS256",
  ]],
  ["algorithms with public keys and only a secret", "auth: {jwt: {secret-file: s, algorithms: [HS256, ES256]}}", [
    "auth.jwt.algorithms: ES256 needs a public key; set auth.jwt.key-file or auth.jwt.jwks-url, or remove ES256",
  ]],
  ["a secret that no algorithm uses", "auth: {jwt: {secret-file: s, jwks-url: 'http://h', algorithms: RS256}}", [
    "auth.jwt.secret-file: none of auth.jwt.algorithms uses it; add HS256, HS384 or HS512, or remove it",
  ]],
  ["public keys that no algorithm uses", "auth: {jwt: {secret-file: s, jwks-url: 'http://h', algorithms: HS256}}", [
    "auth.jwt.jwks-url: none of auth.jwt.algorithms uses it; add one that does, such as RS256, or remove it",
  ]],
  [
    "settings of a directory without its address",
    "auth: {ldap: {start-tls: true, ca-file: c, bind-dn: d, bind-password-file: p, user-dn: u, search-base: s, " +
    "group-base: g}}",
    ["start-tls", "ca-file", "bind-dn", "bind-password-file", "user-dn", "search-base", "group-base"].map((name) =>
      `auth.ldap.${name}: would have no effect; set auth.ldap.url, or remove it`
    ),
  ],
  ["a directory without a way to find users", "auth: {ldap: {url: 'ldaps://h'}}", [
    "auth.ldap.user-dn, auth.ldap.search-base: neither is set; set one of them, it says how users are found",
  ]],
  ["a directory with two ways to find users", `auth: {ldap: {${LDAP}, user-dn: 'uid={username}'}}`, [
    "auth.ldap.user-dn, auth.ldap.search-base: both are set; set one of them, it says how users are found",
  ]],
  ["a user name that is the same for all", "auth: {ldap: {url: 'ldaps://h', user-dn: uid=a}}", [
    "auth.ldap.user-dn: without {username} it is the same for all; put {username} where the name belongs",
  ]],
  ["filters that find anyone", `auth: {ldap: {${LDAP}, search-filter: (uid=*), group-base: g, group-filter: (cn=*)}}`, [
    "auth.ldap.search-filter: without {username} it finds anyone; put {username} where the name belongs",
    "auth.ldap.group-filter: without {dn} and {username} everyone has all groups; put one of them in",
  ]],
  ["a name without a password", `auth: {ldap: {${LDAP}, bind-dn: d}}`, [
    "auth.ldap.bind-password-file: missing; auth.ldap.bind-dn needs the password, in a file of its own",
  ]],
  ["a password without a name", `auth: {ldap: {${LDAP}, bind-password-file: p}}`, [
    "auth.ldap.bind-dn: missing; auth.ldap.bind-password-file holds the password of this name",
  ]],
  ["StartTLS on TLS", `auth: {ldap: {${LDAP}, start-tls: true}}`, [
    "auth.ldap.start-tls: auth.ldap.url is ldaps, which is TLS from the start; use ldap, or set it to false",
  ]],
  ["authorities without TLS", "auth: {ldap: {url: 'ldap://h', search-base: s, ca-file: c}}", [
    "auth.ldap.ca-file: no TLS is used; use ldaps in auth.ldap.url, or set auth.ldap.start-tls to true",
  ]],
  ["a token for nobody", "auth: {http: {token-file: t}}", [
    "auth.http.token-file: nobody is shown the token; set auth.http.url or auth.http.acl-url, or remove it",
  ]],
  ["a delay beyond the longest", "auth: {failure-delay: 11s}", [
    "auth.failure-delay: longer than auth.failure-delay-max; lower it, or raise the other",
  ]],
];

for (const [name, file, expected] of [...LISTENERS, ...AUTH]) {
  Deno.test(`load refuses ${name}`, () => assert.deepEqual(problemsOfGiven({ file }), expected));
}

const GOOD: readonly (readonly [string, string])[] = [
  ["no listener at all", "server: {bind: '', ws-bind: ''}"],
  ["TLS without clients' certificates", "server: {tls: true, tls-cert: c, tls-key: k}"],
  ["TLS files for the list alone", "server: {tls-cert: c, tls-key: k}\nlisteners: [{name: a, type: tls, bind: 1}]"],
  [
    "authorities for one listener of the list",
    "server: {tls-cert: c, tls-key: k, tls-ca: a}\n" +
    "listeners: [{name: a, type: tls, bind: 1, tls: {client-auth: require}}, {name: b, type: tls, bind: 2}]",
  ],
  [
    "the names of listeners that are disabled",
    "server: {bind: ''}\nlisteners: [{name: tcp, type: tcp, bind: 1}, {name: tls, type: tcp, bind: 2}]",
  ],
  ["port 0 twice", "server: {bind: 'h:0', ws-bind: 'h:0'}\nlisteners: [{name: a, type: tcp, bind: 'h:0'}]"],
  ["one port on two addresses", "server: {bind: '127.0.0.1:7'}\nlisteners: [{name: a, type: tcp, bind: '[::1]:7'}]"],
  ["nobody trusted without the PROXY protocol", "server: {trusted-proxies: []}"],
  [
    "both kinds of keys with their algorithms",
    "auth: {jwt: {key-file: k, secret-file: s, algorithms: [HS256, EdDSA]}}",
  ],
  ["both kinds of keys without algorithms", "auth: {jwt: {key-file: k, secret-file: s, audience: a}}"],
  ["a chain without a provider that is not configured", "auth: {chain: [jwt]}"],
  ["rules over HTTP alone", "auth: {chain: [], http: {acl-url: 'http://h', token-file: t}}"],
  [
    "StartTLS with authorities",
    "auth: {ldap: {url: 'ldap://h', user-dn: 'uid={username}', start-tls: on, ca-file: c}}",
  ],
  [
    "a directory with everything",
    `auth: {ldap: {${LDAP}, bind-dn: d, bind-password-file: p, ca-file: c, group-base: g, group-filter: '(u={username})'}}`,
  ],
];

Deno.test("load takes what only looks like a contradiction", () => {
  for (const [name, file] of GOOD) assert.deepEqual(problemsOf(loadGiven({ file }).config), [], name);
});

Deno.test("load names contradictions all at once, from listeners to providers", () => {
  const problems = problemsOfGiven({ file: "auth: {chain: [jwt, jwt]}\nserver: {tls: true, tls-cert: c}\n" });
  assert.deepEqual(problems.map((problem) => problem.replace(/:.*/, "")), ["server.tls-key", "auth.chain"]);
});

Deno.test("load looks for contradictions only when every value is good by itself", () => {
  const problems = problemsOfGiven({ file: "server: {tls: true}\nmqtt: {max-qos: 3}\n" });
  assert.deepEqual(problems, ['mqtt.max-qos: expected 0, 1 or 2, got "3" (c.yaml:2)']);
});
