/**
 * Where the commands of `promptmq user` get a password from: standard input as a whole, or a terminal that does not
 * show what is typed. Never an argument, which other users of the host could see and the shell would keep.
 */
import * as Effect from "effect/Effect";
import { PasswordUnusable, PromptCancelled, UserUsageWrong } from "./user_errors.ts";

/** Bytes of a password: what CONNECT can carry. */
export const PASSWORD_BYTES_MAX = 65_535;

/** How a password is given. */
export interface PasswordSource {
  readonly isStdin: boolean;
  /** True = a terminal is asked twice, for a password that is being set. */
  readonly isRepeated: boolean;
}

/** Gets a password; see the head of this file. */
export function readPassword(
  { isStdin, isRepeated }: PasswordSource,
): Effect.Effect<Uint8Array, UserUsageWrong | PasswordUnusable | PromptCancelled> {
  if (isStdin) return Effect.flatMap(Effect.promise(readStdin), accept);
  if (!Deno.stdin.isTerminal()) {
    return Effect.fail(
      new UserUsageWrong({
        reason: "standard input is not a terminal; give --password-stdin to read the password from it",
      }),
    );
  }
  return Effect.gen(function* () {
    const keyboard = new Keyboard();
    const password = yield* Effect.flatMap(prompt(keyboard, "Password: "), accept);
    if (!isRepeated) return password;
    const again = yield* prompt(keyboard, "Password again: ");
    if (!isSame(password, again)) return yield* new PasswordUnusable({ reason: "the passwords are not the same" });
    return password;
  });
}

/**
 * Puts together what is typed into one line, from the bytes that a terminal in raw mode gives.
 *
 * Enter ends the line, Backspace takes back a character and Ctrl-U all of them, Ctrl-C gives up, and so does Ctrl-D in
 * an empty line. Other control characters, as of the arrow keys, go into the password like any byte: what cannot be
 * seen cannot be edited either.
 */
export class TypedLine {
  readonly #bytes: number[] = [];

  /** @returns The line when it is complete, `cancelled`, or undefined when there is more to come. */
  type(byte: number): Uint8Array | "cancelled" | undefined {
    switch (byte) {
      case CARRIAGE_RETURN:
      case LINE_FEED:
        return Uint8Array.from(this.#bytes);
      case CTRL_C:
        return "cancelled";
      case CTRL_D:
        return this.#bytes.length === 0 ? "cancelled" : undefined;
      case CTRL_U:
        this.#bytes.length = 0;
        return undefined;
      case BACKSPACE:
      case DELETE:
        this.#takeBack();
        return undefined;
      default:
        // Beyond the bound the length is what matters, and that it is wrong.
        if (this.#bytes.length <= PASSWORD_BYTES_MAX) this.#bytes.push(byte);
        return undefined;
    }
  }

  /** Up to the first byte of a character in UTF-8. */
  #takeBack(): void {
    for (let byte = this.#bytes.pop(); byte !== undefined && (byte & 0xc0) === 0x80;) byte = this.#bytes.pop();
  }
}

/** The terminal, with what was typed ahead. */
class Keyboard {
  readonly #buffer = new Uint8Array(1024);
  #pending = new Uint8Array(0);

  async line(): Promise<Uint8Array | "cancelled"> {
    const line = new TypedLine();
    while (true) {
      for (let i = 0; i < this.#pending.length; i++) {
        const typed = line.type(this.#pending[i]!);
        if (typed === undefined) continue;
        this.#pending = this.#pending.subarray(i + 1);
        return typed;
      }
      const count = await Deno.stdin.read(this.#buffer);
      if (count === null) return "cancelled";
      this.#pending = this.#buffer.slice(0, count);
    }
  }
}

/** Asks on standard error, so that standard output stays free for what a command answers. */
function prompt(keyboard: Keyboard, question: string): Effect.Effect<Uint8Array, PromptCancelled> {
  const ask = Effect.flatMap(
    Effect.promise(() => {
      Deno.stderr.writeSync(encoder.encode(question));
      return keyboard.line();
    }),
    (typed) => typed === "cancelled" ? Effect.fail(new PromptCancelled()) : Effect.succeed(typed),
  );
  return Effect.acquireUseRelease(
    Effect.sync(() => Deno.stdin.setRaw(true)),
    () => ask,
    () =>
      Effect.sync(() => {
        Deno.stdin.setRaw(false);
        Deno.stderr.writeSync(encoder.encode("\n"));
      }),
  );
}

/** All of standard input without the line feed at its end; one byte more than can be when it is too long. */
async function readStdin(): Promise<Uint8Array> {
  // Room for a password that is one too long, and for the line feed.
  const bytes = new Uint8Array(PASSWORD_BYTES_MAX + 3);
  let length = 0;
  while (length < bytes.length) {
    const count = await Deno.stdin.read(bytes.subarray(length));
    if (count === null) break;
    length += count;
  }
  if (bytes[length - 1] === LINE_FEED) length--;
  if (bytes[length - 1] === CARRIAGE_RETURN) length--;
  return bytes.subarray(0, length);
}

function accept(password: Uint8Array): Effect.Effect<Uint8Array, PasswordUnusable> {
  if (password.length === 0) return Effect.fail(new PasswordUnusable({ reason: "the password is empty" }));
  if (password.length <= PASSWORD_BYTES_MAX) return Effect.succeed(password);
  return Effect.fail(new PasswordUnusable({ reason: `the password is longer than ${PASSWORD_BYTES_MAX} bytes` }));
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

const encoder = new TextEncoder();
const CTRL_C = 3;
const CTRL_D = 4;
const BACKSPACE = 8;
const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;
const CTRL_U = 21;
const DELETE = 127;
