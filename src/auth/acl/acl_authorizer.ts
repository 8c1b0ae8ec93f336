/**
 * Permissions by rules, put together from where rules come from. For one client they are asked in this order: those of
 * its token or identity provider, those of a backend that is asked once per connection, those of the file.
 *
 * A client for whom nothing of it is there may do everything, as long as there is no file either.
 */
import type { AccessRule } from "../identity/access_rule.ts";
import type { Authorizer, Principal } from "../identity/authorizer.ts";
import { AclPermissions, type RuleSources } from "./acl_permissions.ts";

/** Where rules come from. */
export interface AclOptions extends RuleSources {
  /**
   * Asks a backend for the rules of one client, which holds it to them even when there are none.
   *
   * Must not reject. @returns undefined when it gave no answer: the client is refused.
   */
  readonly rulesFor?: (principal: Principal) => Promise<readonly AccessRule[] | undefined>;
}

/** Builds the service. Permissions that were handed out follow the file and the option by themselves. */
export function makeAclAuthorizer(options: AclOptions): Authorizer["Service"] {
  const { rulesFor } = options;
  return {
    permissionsOf: (principal) =>
      rulesFor === undefined
        ? new AclPermissions(principal, principal.rules, options)
        : rulesFor(principal).then((answered) =>
          answered && new AclPermissions(principal, [...principal.rules ?? [], ...answered], options)
        ),
  };
}
