/**
 * Brings the ledger in step with the tests after titles have changed:
 *
 *     deno run -A tests/conformance/refresh.ts
 */
import { collectCitations, readStatements, type Statement, writeStatements } from "./ledger.ts";

if (import.meta.main) {
  const citations = await collectCitations();
  const statements = (await readStatements()).map((statement): Statement => {
    const tests = citations.get(statement.id) ?? [];
    const { reason, ...rest } = statement;
    const keepsReason = reason !== undefined && (tests.length === 0 || statement.side === "client");
    return keepsReason ? { ...rest, tests, reason } : { ...rest, tests };
  });
  await writeStatements(statements);
}
