/**
 * The system calls of a running broker, by strace: seen in the order in which they happened, or made to fail.
 *
 * strace is attached once the broker is ready, so a start is never in the way; what fails is chosen by the path of a
 * file and not by a count, which strace keeps for each thread apart.
 */
import assert from "node:assert/strict";
import { within } from "../support/event_queue.ts";
import { findTool, type Tool } from "../support/tools.ts";
import { toHex } from "../support/wire_bytes.ts";

/** One call, at the two moments in the trace when it was made and when it returned. */
export interface SystemCall {
  readonly name: string;
  /** Path of the file, or what strace says of another descriptor. */
  readonly target: string;
  /** The bytes it was given, as hexadecimal digits. */
  readonly bytes: string;
  readonly result: string;
  readonly startedAt: number;
  endedAt: number;
}

/** What strace is told. */
export interface TraceSettings {
  /** Which calls fail, and how: an expression for `-e inject=`, such as `fdatasync:error=EIO`. */
  readonly inject?: string;
  /** Only calls on this file. */
  readonly path?: string;
}

/** strace, attached to a broker. */
export interface Trace extends AsyncDisposable {
  /** Lets the broker go on alone, and returns what was seen. */
  detach(): Promise<readonly SystemCall[]>;
}

/** strace, where it may be attached to a process of the same user. */
export function findStrace(): Tool {
  const strace = findTool("strace");
  const name = "strace with the right to attach to a process";
  if (strace.path === undefined) return strace;
  return mayAttach() ? strace : { name, path: undefined, isRight: true };
}

/** Attaches strace to a process with all its threads; it has begun when this returns. */
export async function attach(strace: Tool, pid: number, settings: TraceSettings = {}): Promise<Trace> {
  const file = await Deno.makeTempFile({ prefix: "promptmq_strace_" });
  const { inject, path } = settings;
  const child = new Deno.Command(strace.path ?? "", {
    args: [
      ...["-f", "-p", String(pid), "-o", file, "-y", "-xx", "-s", "65536", "-e", `trace=${CALLS}`],
      ...inject === undefined ? [] : ["-e", `inject=${inject}`],
      ...path === undefined ? [] : ["-P", path],
    ],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const attached = Promise.withResolvers<void>();
  const reading = readText(child.stderr, (text) => {
    if (text.includes(`Process ${pid} attached`)) attached.resolve();
  });
  reading.then((text) => attached.reject(new Error(`strace ended: ${text}`)));
  let hasEnded = false;
  const end = async () => {
    if (hasEnded) return;
    hasEnded = true;
    try {
      child.kill("SIGINT");
    } catch (error) {
      // It ends by itself with the process that it is attached to.
      if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
    }
    await within(Promise.all([child.status, reading]), "strace to end");
  };
  const dispose = async () => {
    await end();
    await Deno.remove(file);
  };
  try {
    await within(attached.promise, "strace to be attached");
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    detach: async () => {
      await end();
      return parseTrace(await Deno.readTextFile(file));
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/**
 * Says which call made the bytes of a message safe before `acknowledgement`: a successful sync of a file, made after
 * the bytes were written to it, and returned before the acknowledgement was written.
 */
export function syncBefore(
  calls: readonly SystemCall[],
  payload: string | Uint8Array,
  acknowledgement: SystemCall,
): SystemCall | undefined {
  const written = writesOf(calls, payload).filter(({ result }) => !result.startsWith("-1"));
  return calls.find((sync) =>
    sync.name === "fdatasync" && sync.result === "0" && sync.endedAt < acknowledgement.startedAt &&
    written.some((write) => segmentOf(write.target) === sync.target && write.endedAt < sync.startedAt)
  );
}

/** Writes to files of the log that hold a payload, or other bytes. */
export function writesOf(calls: readonly SystemCall[], payload: string | Uint8Array): SystemCall[] {
  const given = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const sought = toHex(given).replaceAll(" ", "");
  return calls.filter(({ name, target, bytes }) =>
    name === "pwrite64" && segmentOf(target).endsWith(".wal") && bytes.includes(sought)
  );
}

/** The file that a file is, or becomes once it is written: a segment in place of others has another name until then. */
function segmentOf(target: string): string {
  return target.endsWith(".wal.unfinished") ? target.slice(0, -".unfinished".length) : target;
}

/** The one write of these bytes to a socket. */
export function sendOf(calls: readonly SystemCall[], packet: Uint8Array): SystemCall {
  const bytes = toHex(packet).replaceAll(" ", "");
  const sends = calls.filter(({ target, bytes: given }) => target.startsWith("socket:") && given === bytes);
  assert.equal(sends.length, 1, `${sends.length} calls write ${bytes}`);
  return sends[0]!;
}

/** Reads what strace wrote; a call that another thread interrupts stands on two lines. */
export function parseTrace(text: string): SystemCall[] {
  const calls: SystemCall[] = [];
  const unfinished = new Map<string, { readonly text: string; readonly startedAt: number }>();
  text.split("\n").forEach((line, at) => {
    const match = /^(\d+) +(.*)$/.exec(line);
    if (match === null) return;
    const [, thread = "", rest = ""] = match;
    if (rest.endsWith("<unfinished ...>")) {
      unfinished.set(thread, { text: rest.slice(0, -"<unfinished ...>".length), startedAt: at });
      return;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    const begun = resumed === null ? undefined : unfinished.get(thread);
    const call = parseCall(resumed === null ? rest : `${begun?.text ?? ""}${resumed[1]}`);
    if (call !== undefined) calls.push({ ...call, startedAt: begun?.startedAt ?? at, endedAt: at });
  });
  return calls;
}

function parseCall(text: string): Pick<SystemCall, "name" | "target" | "bytes" | "result"> | undefined {
  const match = /^(\w+)\(-?\d+<((?:[^>]|->)*)>(.*)\) += (-?\d+.*)$/.exec(text);
  if (match === null) return undefined;
  const [, name = "", target = "", rest = "", result = ""] = match;
  const bytes = Array.from(rest.matchAll(/"([^"]*)"/g), ([, quoted = ""]) => quoted.replaceAll("\\x", "")).join("");
  return { name, target: readPath(target), bytes, result: result.trim() };
}

/** strace writes paths of descriptors as other strings: in hexadecimal, when it is told to. */
function readPath(target: string): string {
  if (!target.startsWith("\\x")) return target;
  return target.replaceAll(/\\x([0-9a-f]{2})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 16)));
}

async function readText(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  heard: (text: string) => void,
): Promise<string> {
  let whole = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    whole += text;
    heard(whole);
  }
  return whole;
}

/** A broker under test is no child of strace: with Yama that takes a capability. */
function mayAttach(): boolean {
  if (hasCapability(CAP_SYS_PTRACE)) return true;
  try {
    return Deno.readTextFileSync("/proc/sys/kernel/yama/ptrace_scope").trim() === "0";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return true;
    throw error;
  }
}

function hasCapability(number: number): boolean {
  const status = Deno.readTextFileSync("/proc/self/status");
  const effective = /^CapEff:\s+([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
  return (BigInt(`0x${effective}`) >> BigInt(number) & 1n) === 1n;
}

const CAP_SYS_PTRACE = 19;
const CALLS = "fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg";
