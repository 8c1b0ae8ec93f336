/**
 * A log file that is put aside when it is full: `x.log` becomes `x.log.1`, `x.log.1` becomes `x.log.2`, and the oldest
 * is overwritten. Lines are written at once, so the end of the log survives a crash of the process; no line is split
 * over two files.
 */

const encoder = new TextEncoder();

/** Appends to the file at `path`, across restarts. All methods may throw the errors of the system. */
export class RotatingFile {
  readonly #path: string;
  readonly #maxSizeBytes: number;
  readonly #maxFiles: number;
  #file: Deno.FsFile;
  #sizeBytes: number;

  /**
   * @param maxSizeBytes A line that would make the file larger goes to a new one; a longer line has one for itself.
   * @param maxFiles Rotated files kept besides the current one, at least 1.
   */
  constructor(path: string, maxSizeBytes: number, maxFiles: number) {
    this.#path = path;
    this.#maxSizeBytes = maxSizeBytes;
    this.#maxFiles = maxFiles;
    this.#file = Deno.openSync(path, { create: true, append: true });
    this.#sizeBytes = this.#file.statSync().size;
  }

  /** Writes one line with its line feed, after rotating if it does not fit. */
  write(line: string): void {
    const bytes = encoder.encode(line);
    if (this.#sizeBytes > 0 && this.#sizeBytes + bytes.length > this.#maxSizeBytes) this.#rotate();
    for (let written = 0; written < bytes.length;) {
      const count = this.#file.writeSync(bytes.subarray(written));
      written += count;
      this.#sizeBytes += count;
    }
  }

  /** Closes the current file. */
  close(): void {
    this.#file.close();
  }

  #rotate(): void {
    // First what may fail, as without a file descriptor left: every line tries again, and each try moves all files on.
    const next = Deno.openSync(`${this.#path}.next`, { create: true, append: true });
    for (let number = this.#maxFiles - 1; number >= 1; number--) {
      renameIfPresent(`${this.#path}.${number}`, `${this.#path}.${number + 1}`);
    }
    renameIfPresent(this.#path, `${this.#path}.1`);
    Deno.renameSync(`${this.#path}.next`, this.#path);
    this.#file.close();
    this.#file = next;
    this.#sizeBytes = next.statSync().size;
  }
}

function renameIfPresent(from: string, to: string): void {
  try {
    Deno.renameSync(from, to);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
