/**
 * A metric that nobody feeds is worse than none: it says that all is well. Every field of the counters has to be written
 * somewhere in `src`, and every reason of a drop has to be given by somebody.
 */
import { lineAt, maskSource } from "./source.ts";

/** Where the counters are declared. */
export const COUNTER_FILES = ["src/metrics/counters.ts", "src/metrics/storage_counters.ts"];

/** A text of `src` with its path. */
interface Source {
  readonly path: string;
  readonly text: string;
}

/** Fields of the classes in `COUNTER_FILES` that nothing writes, and drop reasons that nothing names. */
export function problemsOfCounters(sources: readonly Source[]): string[] {
  const program = sources.filter(({ path }) => path.startsWith("src/"));
  const codes = program.map(({ text }) => maskSource(text).code);
  const elsewhere = program.filter(({ path }) => !COUNTER_FILES.includes(path));
  const statements = elsewhere.map(({ text }) => maskSource(text).statements);
  return program.filter(({ path }) => COUNTER_FILES.includes(path)).flatMap(({ path, text }) => {
    const code = maskSource(text).code;
    const unwritten = [...code.matchAll(FIELD)].filter(({ 1: field }) => !codes.some(writesTo(field!)));
    const reasons = [...(/DROP_REASONS = \[([^\]]*)\]/.exec(text)?.[1] ?? "").matchAll(/"(\w+)"/g)];
    const unused = reasons.filter(({ 1: reason }) =>
      !statements.some((one) => new RegExp(`["'.]${reason}\\b`).test(one))
    );
    return [
      ...unwritten.map(({ 1: field, index }) => `${path}:${lineAt(code, index + 1)}: nothing writes ${field}`),
      ...unused.map(({ 1: reason }) => `${path}: nothing is dropped for the reason ${reason}`),
    ];
  });
}

/** A field with its first value, unless it holds counters of its own. */
const FIELD = /^ {2}(?:readonly )?(\w+)(?:: [^=\n]+(?:=> \w+)?)? = (?!new \w+Counters\()/gm;

/** Whether a text changes the field, or calls one of its methods that do. */
function writesTo(field: string): (code: string) => boolean {
  const change = new RegExp(
    `\\.${field}(?:\\[[^\\]]*\\])?(?: (?:[-+]?=)(?!=)|\\+\\+|--|\\.(?:add|observe|observeMany|count)\\()` +
      `|(?:\\+\\+|--)[\\w.#]*\\.${field}\\b`,
  );
  return (code) => change.test(code);
}
