/**
 * A progress bar on one line of a terminal; where there is no terminal, nothing.
 */

/** What is written to: standard error of the process, or something that stands for it. */
export interface ProgressTerminal {
  isTerminal(): boolean;
  writeSync(bytes: Uint8Array): number;
}

/** See the head of this file. */
export class ProgressBar {
  readonly #terminal: ProgressTerminal | undefined;
  readonly #columns: () => number;
  #lastLine = "";

  constructor(terminal: ProgressTerminal, columns: () => number) {
    this.#terminal = terminal.isTerminal() ? terminal : undefined;
    this.#columns = columns;
  }

  /**
   * Shows how far it is; costs nothing when the line would be the same.
   *
   * @param fraction 0 to 1; other values are taken as the nearest of these.
   */
  show(fraction: number, text: string): void {
    if (this.#terminal === undefined) return;
    const line = renderProgress(fraction, text, this.#columns());
    if (line === this.#lastLine) return;
    this.#lastLine = line;
    this.#write(`\r${line}${CLEAR_TO_END}`);
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#terminal === undefined || this.#lastLine === "") return;
    this.#lastLine = "";
    this.#write(`\r${CLEAR_TO_END}`);
  }

  #write(text: string): void {
    this.#terminal?.writeSync(new TextEncoder().encode(text));
  }
}

/** One line of at most `columns - 1` characters. */
export function renderProgress(fraction: number, text: string, columns: number): string {
  const share = Math.min(1, Math.max(0, fraction));
  const filled = Math.round(share * BAR_CHARS);
  const percent = `${Math.floor(share * 100)} %`.padStart(5);
  return `[${"#".repeat(filled)}${".".repeat(BAR_CHARS - filled)}] ${percent}  ${text}`.slice(0, columns - 1);
}

const BAR_CHARS = 24;
const CLEAR_TO_END = "\x1b[K";
