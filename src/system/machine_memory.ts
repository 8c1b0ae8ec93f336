/**
 * How much memory this process may use: that of the machine, or of the container it runs in.
 */

/**
 * Asks the system.
 *
 * @returns Bytes, or undefined when the program may not ask.
 */
export function machineMemoryBytes(): number | undefined {
  let total: number;
  try {
    total = Deno.systemMemoryInfo().total;
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) return undefined;
    throw cause;
  }
  return Math.min(total, containerMemoryBytes() ?? Infinity);
}

/** The limit of the control group that a container is, where there is one and it may be read. */
function containerMemoryBytes(): number | undefined {
  try {
    const bytes = Number(Deno.readTextFileSync(CONTROL_GROUP_LIMIT));
    // Without a limit the file says `max`.
    return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
  } catch {
    return undefined;
  }
}

/** As seen from inside of a container on Linux. */
const CONTROL_GROUP_LIMIT = "/sys/fs/cgroup/memory.max";
