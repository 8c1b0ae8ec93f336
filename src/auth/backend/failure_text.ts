/**
 * What the runtime says of a network that failed, for an operator.
 */

/** Causes in causes that are looked into. */
const DEPTH_MAX = 5;

/**
 * The innermost cause in one line, without the number that the runtime adds: the outer ones only say that something
 * failed. It may name the address that was asked.
 */
export function failureText(cause: unknown): string {
  let innermost = cause;
  for (let depth = 0; depth < DEPTH_MAX && innermost instanceof Error && innermost.cause !== undefined; depth++) {
    innermost = innermost.cause;
  }
  const text = innermost instanceof Error ? innermost.message : String(innermost);
  return (text.split("\n")[0] ?? "").replace(/ \(os error \d+\)/, "");
}
