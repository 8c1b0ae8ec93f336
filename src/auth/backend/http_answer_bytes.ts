/**
 * One request over HTTP and the whole answer to it, in bytes.
 *
 * Only status 200 is an answer: a redirection could lead to a server that nobody configured. A body that is too large is
 * none either. Interruption cuts the request off.
 */
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import { failureText } from "./failure_text.ts";

/** There is no answer. */
export class NoAnswer extends Data.TaggedError("NoAnswer")<{
  /** One sentence; undefined = see `cause`, whose words may repeat the address with the secrets in it. */
  readonly detail?: string;
  readonly cause?: unknown;
}> {}

/**
 * Why there is no answer.
 *
 * @param shown Stands wherever the runtime repeats the address, whose user or query may be a secret.
 */
export function describeNoAnswer({ detail, cause }: NoAnswer, shown: string): string {
  // Up to a space, as no address has one in it, but for the brackets that the runtime puts around.
  return detail ?? failureText(cause).replace(/https?:\/\/\S+?(?=\)?:?(?:\s|$))/g, () => shown);
}

/**
 * Asks.
 *
 * @param bytesMax Of the body.
 */
export function fetchAnswer(
  url: URL,
  init: RequestInit & { readonly client?: Deno.HttpClient },
  bytesMax: number,
): Effect.Effect<Uint8Array, NoAnswer> {
  return Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(url, { ...init, redirect: "manual", signal });
      if (response.status === 200) return await readBounded(response, bytesMax);
      await response.body?.cancel();
      throw new NoAnswer({ detail: `the answer has status ${response.status}` });
    },
    catch: (cause) => cause instanceof NoAnswer ? cause : new NoAnswer({ cause }),
  });
}

async function readBounded(response: Response, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let byteCount = 0;
  for await (const chunk of response.body ?? []) {
    byteCount += chunk.length;
    // Leaving the loop cancels the rest of the body.
    if (byteCount > bytesMax) throw new NoAnswer({ detail: `the answer is larger than ${bytesMax} bytes` });
    chunks.push(chunk);
  }
  return await new Blob(chunks).bytes();
}
