/**
 * Who clients are and what they may do, as configured: which providers there are, in which order they are asked, and
 * where the rules come from. A provider that is not configured does not exist.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { listenersOf } from "../config/checks/listener_list.ts";
import { ConfigStore } from "../config/reload.ts";
import { fileModeOf } from "../system/watched_file.ts";
import { makeAclAuthorizer } from "./acl/acl_authorizer.ts";
import { AclFile } from "./acl/acl_file.ts";
import { makeCertificateProvider } from "./certificate.ts";
import { BanFile } from "./guard/ban_file.ts";
import { HttpAuth } from "./http/http_auth.ts";
import { HttpRules } from "./http/http_rules.ts";
import { Authenticator, makeAuthenticator } from "./identity/authenticator.ts";
import { Authorizer } from "./identity/authorizer.ts";
import type { EnhancedAuthenticator } from "./identity/enhanced_authentication.ts";
import type { AnonymousPolicy, IdentityProvider } from "./identity/identity.ts";
import { openQuestions } from "./identity/questions.ts";
import { Ldap } from "./ldap/ldap.ts";
import { PasswordFile } from "./password/password_file.ts";
import { Jwt } from "./token/jwt.ts";

/** The chain of `auth.chain`, and SCRAM for the users of the password file. */
const authenticator = Layer.effect(
  Authenticator,
  Effect.gen(function* () {
    const store = yield* ConfigStore;
    const config = store.current();
    const { auth } = config;
    const providers = new Map<string, IdentityProvider>();
    const enhanced: EnhancedAuthenticator[] = [];
    const { jwt, ldap, http } = auth;
    const asksForCertificates = listenersOf(config).some(({ clientAuth }) => clientAuth !== "none");
    if (asksForCertificates && auth.certificate.username !== "none") {
      providers.set("certificate", makeCertificateProvider(auth.certificate.username));
    }
    if (auth.passwordFile !== undefined) {
      const users = yield* open(PasswordFile, PasswordFile.layer(auth.passwordFile, fileModeOf));
      providers.set("password-file", users.identityProvider);
      enhanced.push(users.scram);
    }
    if (jwt.keyFile !== undefined || jwt.secretFile !== undefined || jwt.jwksUrl !== undefined) {
      providers.set("jwt", yield* open(Jwt, Jwt.layer(jwt)));
    }
    if (ldap.url !== undefined) {
      providers.set("ldap", yield* open(Ldap, Ldap.layer({ ...ldap, url: ldap.url })));
    }
    if (http.url !== undefined) providers.set("http", yield* open(HttpAuth, HttpAuth.layer(http)));
    const chain = auth.chain.flatMap((name) => providers.get(name) ?? []);
    const policy = () => String(store.current().auth.allowAnonymous) as AnonymousPolicy;
    return Authenticator.of(makeAuthenticator(policy, chain, enhanced, yield* openQuestions));
  }),
);

/** Rules of the client's token first, then those of the HTTP server, then those of the file. */
const authorizer = Layer.effect(
  Authorizer,
  Effect.gen(function* () {
    const store = yield* ConfigStore;
    const { auth } = store.current();
    const file = auth.aclFile === undefined ? undefined : yield* open(AclFile, AclFile.layer(auth.aclFile));
    const rules = auth.http.aclUrl === undefined ? undefined : yield* open(HttpRules, HttpRules.layer(auth.http));
    const options = {
      book: file === undefined ? () => undefined : file.current,
      recheckOnDeliver: () => store.current().auth.recheckOnDeliver,
      ...(rules === undefined ? {} : { rulesFor: rules.rulesFor }),
    };
    return Authorizer.of(makeAclAuthorizer(options, yield* openQuestions));
  }),
);

/** Who is banned, as the file says. */
const bans = Layer.unwrap(Effect.map(ConfigStore, (store) => BanFile.layer(store.current().auth.banFile)));

/** Everything about identity that the broker needs. */
export const identity = Layer.mergeAll(authenticator, authorizer, bans);

/** Builds a layer of one service into the scope around it. */
const open = <I, S, E, R>(service: Context.Service<I, S>, layer: Layer.Layer<I, E, R>) =>
  Effect.map(Layer.build(layer), (built) => Context.get(built, service));
