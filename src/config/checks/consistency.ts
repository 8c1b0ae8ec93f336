/**
 * Whether values that are good by themselves fit each other.
 *
 * What would silently have no effect is a mistake here, above all where it is about security: a certificate that no
 * listener shows, a requirement that nothing enforces. Every problem names the keys and says what to do. Places are not
 * known here, since more than one source may have a part in a problem.
 */

import type { Config } from "../options/schema.ts";
import { authProblems } from "./auth_consistency.ts";
import { listenerProblems } from "./listener_consistency.ts";

/** Every contradiction in a decoded configuration, one line each; empty when there is none. */
export function problemsOf(config: Config): readonly string[] {
  return [...new Set([...listenerProblems(config), ...authProblems(config)])];
}
