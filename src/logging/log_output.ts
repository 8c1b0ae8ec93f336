/**
 * Where log lines go: standard error or a rotating file.
 *
 * A log that cannot be written must not stop the broker: lines a file does not take go to standard error, preceded
 * once by the reason.
 */

import { RotatingFile } from "./rotating_file.ts";

/** Takes whole lines. */
export interface LogOutput {
  /** Never throws. */
  write(line: string): void;
  close(): void;
  readonly isTerminal: boolean;
}

/**
 * Opens the file, or standard error without one.
 *
 * @throws The error of the system when the file cannot be opened.
 */
export function openLogOutput(
  options: { readonly file: string | undefined; readonly maxSizeBytes: number; readonly maxFiles: number },
): LogOutput {
  if (options.file === undefined) {
    return { write: writeStandardError, close: () => {}, isTerminal: Deno.stderr.isTerminal() };
  }
  const file = new RotatingFile(options.file, options.maxSizeBytes, options.maxFiles);
  return fallBackOnFailure(file, writeStandardError);
}

/** Sends to `instead` what the file refuses. */
export function fallBackOnFailure(
  file: { write(line: string): void; close(): void },
  instead: (line: string) => void,
): LogOutput {
  let isFailing = false;
  return {
    write: (line) => {
      try {
        file.write(line);
        isFailing = false;
      } catch (error) {
        if (!isFailing) instead(`cannot write to the log file: ${error instanceof Error ? error.message : error}\n`);
        isFailing = true;
        instead(line);
      }
    },
    close: () => file.close(),
    isTerminal: false,
  };
}

const encoder = new TextEncoder();

function writeStandardError(line: string): void {
  const bytes = encoder.encode(line);
  try {
    for (let written = 0; written < bytes.length;) written += Deno.stderr.writeSync(bytes.subarray(written));
  } catch {
    // Nobody reads standard error any more, and there is no other place to say so.
  }
}
