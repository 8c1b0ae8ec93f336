/**
 * Reads what Linux knows about a process from /proc: processor time, resident memory, open-file limit.
 *
 * Elsewhere than on Linux every function answers undefined, and the reports leave the figure out.
 */

/** Kernel clock ticks per second in /proc; fixed at 100 on every Linux that Deno runs on. */
const TICKS_PER_SECOND = 100;

/** Reads the processor seconds (user and system, all threads) a process has used so far. */
export function readCpuSeconds(pid: number): number | undefined {
  const stat = readProc(`${pid}/stat`);
  if (stat === undefined) return undefined;
  // The second field is the command in parentheses and may hold spaces, so count fields after it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Reads the resident memory of a process, in bytes. */
export function readResidentBytes(pid: number): number | undefined {
  const match = readProc(`${pid}/status`)?.match(/^VmRSS:\s+(\d+) kB$/m);
  return match ? Number(match[1]) * 1024 : undefined;
}

/** Reads how many files a process may open (soft limit). */
export function readOpenFilesMax(pid: number): number | undefined {
  const match = readProc(`${pid}/limits`)?.match(/^Max open files\s+(\d+)/m);
  return match ? Number(match[1]) : undefined;
}

/** Names the processor model, or "unknown". */
export function readCpuModel(): string {
  return readProc("cpuinfo")?.match(/^model name\s*:\s*(.+)$/m)?.[1] ?? "unknown";
}

function readProc(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(`/proc/${path}`);
  } catch {
    return undefined;
  }
}
