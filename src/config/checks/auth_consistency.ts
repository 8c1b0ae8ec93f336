/**
 * Whether identity providers have what they need and are asked at all: the part of `consistency.ts` about who clients are.
 */

import type { Config } from "../options/schema.ts";

/** Every contradiction of section `auth`, one line each. */
export function authProblems({ auth }: Config): readonly string[] {
  const problems = [...chainProblems(auth), ...jwtProblems(auth.jwt), ...ldapProblems(auth.ldap)];
  if (auth.http.tokenFile !== undefined && auth.http.url === undefined && auth.http.aclUrl === undefined) {
    problems.push(
      "auth.http.token-file: nobody is shown the token; set auth.http.url or auth.http.acl-url, or remove it",
    );
  }
  if (auth.failureDelayMs > auth.failureDelayMaxMs) {
    problems.push("auth.failure-delay: longer than auth.failure-delay-max; lower it, or raise the other");
  }
  return problems;
}

type Auth = Config["auth"];

function chainProblems({ chain, passwordFile, jwt, ldap, http }: Auth): string[] {
  const twice = chain.filter((name, position) => chain.indexOf(name) !== position);
  const problems = twice.map((name) => `auth.chain: names ${name} twice; a provider is asked once, remove one of them`);
  // A certificate is not among these: without its name in the chain it opens the connection and proves no name.
  const configured = [
    ["password-file", "auth.password-file", passwordFile],
    ["jwt", keysOfJwt(jwt).join(" and "), keysOfJwt(jwt)[0]],
    ["ldap", "auth.ldap.url", ldap.url],
    ["http", "auth.http.url", http.url],
  ] as const;
  for (const [name, key, value] of configured) {
    if (value === undefined || chain.includes(name)) continue;
    problems.push(`auth.chain: does not name ${name}, so that ${key} would have no effect; add it, or remove ${key}`);
  }
  return problems;
}

function keysOfJwt({ keyFile, secretFile, jwksUrl }: Auth["jwt"]): string[] {
  return [
    ...keyFile === undefined ? [] : ["auth.jwt.key-file"],
    ...secretFile === undefined ? [] : ["auth.jwt.secret-file"],
    ...jwksUrl === undefined ? [] : ["auth.jwt.jwks-url"],
  ];
}

function jwtProblems(jwt: Auth["jwt"]): string[] {
  if (keysOfJwt(jwt).length === 0) {
    return orphans("auth.jwt", "set auth.jwt.key-file, auth.jwt.secret-file or auth.jwt.jwks-url", {
      algorithms: jwt.algorithms.length > 0,
      issuer: jwt.issuer !== undefined,
      audience: jwt.audience !== undefined,
    });
  }
  if (jwt.algorithms.length === 0) return [];
  const hasPublicKeys = jwt.keyFile !== undefined || jwt.jwksUrl !== undefined;
  const hasSecret = jwt.secretFile !== undefined;
  const problems: string[] = [];
  for (const algorithm of jwt.algorithms) {
    // A public key is no secret: whoever has it could sign with it.
    if (isSymmetric(algorithm) && !hasSecret) {
      problems.push(
        `auth.jwt.algorithms: ${algorithm} needs a secret; set auth.jwt.secret-file, or remove ${algorithm}`,
      );
    } else if (!isSymmetric(algorithm) && !hasPublicKeys) {
      problems.push(
        `auth.jwt.algorithms: ${algorithm} needs a public key; set auth.jwt.key-file or auth.jwt.jwks-url, or remove ` +
          algorithm,
      );
    }
  }
  if (hasSecret && !jwt.algorithms.some(isSymmetric)) {
    problems.push("auth.jwt.secret-file: none of auth.jwt.algorithms uses it; add HS256, HS384 or HS512, or remove it");
  }
  if (hasPublicKeys && jwt.algorithms.every(isSymmetric)) {
    const key = jwt.keyFile === undefined ? "auth.jwt.jwks-url" : "auth.jwt.key-file";
    problems.push(`${key}: none of auth.jwt.algorithms uses it; add one that does, such as RS256, or remove it`);
  }
  return problems;
}

function isSymmetric(algorithm: string): boolean {
  return algorithm.startsWith("HS");
}

function ldapProblems(ldap: Auth["ldap"]): string[] {
  if (ldap.url === undefined) {
    return orphans("auth.ldap", "set auth.ldap.url", {
      "start-tls": ldap.startTls,
      "ca-file": ldap.caFile !== undefined,
      "bind-dn": ldap.bindDn !== undefined,
      "bind-password-file": ldap.bindPasswordFile !== undefined,
      "user-dn": ldap.userDn !== undefined,
      "search-base": ldap.searchBase !== undefined,
      "group-base": ldap.groupBase !== undefined,
    });
  }
  return [...ldapTransportProblems(ldap, ldap.url), ...ldapUserProblems(ldap)];
}

function ldapTransportProblems({ startTls, caFile }: Auth["ldap"], url: string): string[] {
  const isTls = /^ldaps:/i.test(url);
  if (isTls && startTls) {
    return ["auth.ldap.start-tls: auth.ldap.url is ldaps, which is TLS from the start; use ldap, or set it to false"];
  }
  if (isTls || startTls || caFile === undefined) return [];
  return ["auth.ldap.ca-file: no TLS is used; use ldaps in auth.ldap.url, or set auth.ldap.start-tls to true"];
}

function ldapUserProblems(ldap: Auth["ldap"]): string[] {
  const { bindDn, bindPasswordFile, userDn, searchBase, searchFilter, groupBase, groupFilter } = ldap;
  const problems: string[] = [];
  if ((userDn === undefined) === (searchBase === undefined)) {
    const state = userDn === undefined ? "neither is set" : "both are set";
    problems.push(`auth.ldap.user-dn, auth.ldap.search-base: ${state}; set one of them, it says how users are found`);
  }
  if (userDn !== undefined && !userDn.includes("{username}")) {
    problems.push(
      "auth.ldap.user-dn: without {username} it is the same for all; put {username} where the name belongs",
    );
  }
  if (searchBase !== undefined && !searchFilter.includes("{username}")) {
    problems.push("auth.ldap.search-filter: without {username} it finds anyone; put {username} where the name belongs");
  }
  if (groupBase !== undefined && !groupFilter.includes("{dn}") && !groupFilter.includes("{username}")) {
    problems.push("auth.ldap.group-filter: without {dn} and {username} everyone has all groups; put one of them in");
  }
  if (bindDn !== undefined && bindPasswordFile === undefined) {
    problems.push("auth.ldap.bind-password-file: missing; auth.ldap.bind-dn needs the password, in a file of its own");
  }
  if (bindDn === undefined && bindPasswordFile !== undefined) {
    problems.push("auth.ldap.bind-dn: missing; auth.ldap.bind-password-file holds the password of this name");
  }
  return problems;
}

/** Settings of a provider that is not configured. */
function orphans(section: string, remedy: string, given: Readonly<Record<string, boolean>>): string[] {
  return Object.entries(given).filter(([, isGiven]) => isGiven).map(([name]) =>
    `${section}.${name}: would have no effect; ${remedy}, or remove it`
  );
}
