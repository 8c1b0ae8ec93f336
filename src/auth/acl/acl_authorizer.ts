/**
 * Permissions by rules, put together from where rules come from. For one client they are asked in this order: those of
 * its token or identity provider, those of a backend that is asked once per connection, those of the file.
 *
 * A client for whom nothing of it is there may do everything, as long as there is no file either.
 */
import * as Effect from "effect/Effect";
import type { AccessRule } from "../identity/access_rule.ts";
import type { Authorizer, Principal } from "../identity/authorizer.ts";
import type { BackendBusy, BackendUnavailable } from "../identity/errors.ts";
import type { Answer, Ask } from "../identity/questions.ts";
import { AclPermissions, type RuleSources } from "./acl_permissions.ts";

/** Where rules come from. */
export interface AclOptions extends RuleSources {
  /** Asks a backend for the rules of one client, which holds it to them even when there are none. */
  readonly rulesFor?: (principal: Principal) => Answer<readonly AccessRule[], BackendUnavailable | BackendBusy>;
}

/** Builds the service. Permissions that were handed out follow the file and the option by themselves. */
export function makeAclAuthorizer(options: AclOptions, ask: Ask): Authorizer["Service"] {
  const { rulesFor } = options;
  return {
    permissionsOf: (principal, heard) => {
      const { rules } = principal;
      if (rulesFor === undefined) return ask(new AclPermissions(principal, rules, options), heard);
      const answered = rulesFor(principal);
      const found = Effect.isEffect(answered) ? Effect.orElseSucceed(answered, () => undefined) : answered;
      return ask(found, (more) => heard(more && new AclPermissions(principal, [...rules ?? [], ...more], options)));
    },
  };
}
