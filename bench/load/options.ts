/**
 * The command line of the load generator.
 *
 * `--name value` or `--name=value`; switches take no value. Everything wrong is reported in one error. A password on a
 * command line can be read by everybody on the machine: these are for users that live as long as one run.
 */

import { type LoadQos, type LoadUser, type LoadVersion, STAMP_BYTES } from "./packets.ts";

/** Settings of one run. */
export interface LoadOptions {
  /** live: publishers and subscribers. ingest: publishers only. connect: connections only. */
  readonly mode: "live" | "ingest" | "connect";
  /** TCP port on 127.0.0.1. */
  readonly port: number;
  readonly pubs: number;
  /** Subscribers; in mode connect, connections. */
  readonly subs: number;
  readonly topics: number;
  readonly qos: LoadQos;
  /** Payload size in bytes. */
  readonly size: number;
  /** Messages in all; 0 = run for `seconds`. */
  readonly count: number;
  /** Length of the measured part in seconds when `count` is 0. */
  readonly seconds: number;
  /** Seconds of full load before the measured part, when `count` is 0. */
  readonly warmup: number;
  /** Messages each publisher may have under way. */
  readonly window: number;
  /** Subscribers use `prefix/#`. */
  readonly wildcard: boolean;
  /** Subscribers form one shared-subscription group. */
  readonly shared: boolean;
  readonly retain: boolean;
  readonly version: LoadVersion;
  /** Seconds without progress after which a run is given up. */
  readonly timeout: number;
  /** In mode connect: hold the connections, after the report, until standard input ends. */
  readonly hold: boolean;
  /** Process whose processor time is reported as the broker's; 0 = none. */
  readonly watchPid: number;
  /** PEM text of the authority that signs the broker's certificate; undefined = no TLS. */
  readonly caCert: string | undefined;
  /** What every connection proves itself with; undefined = nothing. */
  readonly user: LoadUser | undefined;
}

/** A command line that cannot be used; the message lists every problem. */
export class OptionsError extends Error {
  override readonly name = "OptionsError";
}

const DEFAULTS = {
  port: 1883,
  pubs: 1,
  subs: 1,
  topics: 1,
  qos: 0,
  size: 64,
  count: 0,
  seconds: 3,
  warmup: 1,
  window: 1000,
  timeout: 10,
  "watch-pid": 0,
};

const TEXTS = { mode: "live", "tls-ca": "", username: "", password: "" };

const SWITCHES = ["wildcard", "shared", "retain", "v5", "hold"];

/**
 * Reads the command line of a run.
 *
 * @throws OptionsError naming every unknown option and unusable value.
 *
 * @example
 * ```ts
 * import { parseLoadOptions } from "./options.ts";
 * const options = parseLoadOptions(["--pubs", "50", "--subs=50", "--topics", "50", "--qos", "1"]);
 * if (options.subs !== 50 || options.window !== 1000) throw new Error("unexpected");
 * ```
 */
export function parseLoadOptions(args: readonly string[]): LoadOptions {
  const { numbers, switches, texts, problems } = readArguments(args);
  const { mode, username, password } = texts;
  const isIngest = mode === "ingest";
  const options: LoadOptions = {
    mode: mode as LoadOptions["mode"],
    port: numbers.port,
    pubs: mode === "connect" ? 0 : numbers.pubs,
    subs: isIngest ? 0 : numbers.subs,
    topics: numbers.topics,
    qos: numbers.qos as LoadQos,
    size: numbers.size,
    count: numbers.count,
    seconds: numbers.seconds,
    warmup: numbers.count > 0 ? 0 : numbers.warmup,
    window: numbers.window,
    wildcard: switches.has("wildcard"),
    shared: switches.has("shared"),
    retain: switches.has("retain"),
    version: switches.has("v5") ? 5 : 4,
    timeout: numbers.timeout,
    hold: switches.has("hold"),
    watchPid: numbers["watch-pid"],
    caCert: readCaCert(texts["tls-ca"], problems),
    user: username === "" ? undefined : { username, password },
  };
  problems.push(...validate(options));
  if (problems.length > 0) throw new OptionsError(problems.join("\n"));
  return options;
}

function readArguments(args: readonly string[]) {
  const numbers: Record<keyof typeof DEFAULTS, number> = { ...DEFAULTS };
  const switches = new Set<string>();
  const texts: Record<keyof typeof TEXTS, string> = { ...TEXTS };
  const problems: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const [name = "", inline] = args[index]!.replace(/^--/, "").split("=", 2);
    if (SWITCHES.includes(name)) {
      switches.add(name);
      continue;
    }
    if (!(name in TEXTS) && !(name in DEFAULTS)) {
      problems.push(`unknown option ${args[index]}`);
      continue;
    }
    const value = inline ?? args[++index] ?? "";
    if (name in TEXTS) texts[name as keyof typeof TEXTS] = value;
    else if (/^\d+(\.\d+)?$/.test(value)) numbers[name as keyof typeof DEFAULTS] = Number(value);
    else problems.push(`--${name}: expected a number, got "${value}"`);
  }
  return { numbers, switches, texts, problems };
}

function readCaCert(path: string, problems: string[]): string | undefined {
  if (path === "") return undefined;
  try {
    return Deno.readTextFileSync(path);
  } catch (cause) {
    problems.push(`--tls-ca: cannot read ${path}: ${cause instanceof Error ? cause.message : String(cause)}`);
    return undefined;
  }
}

function validate(options: LoadOptions): string[] {
  const problems: string[] = [];
  if (!["live", "ingest", "connect"].includes(options.mode)) problems.push(`--mode: unknown mode "${options.mode}"`);
  if (![0, 1, 2].includes(options.qos)) problems.push(`--qos: expected 0, 1 or 2, got ${options.qos}`);
  if (options.size < STAMP_BYTES) problems.push(`--size: at least ${STAMP_BYTES}, got ${options.size}`);
  for (const name of ["port", "topics", "window"] as const) {
    if (!Number.isInteger(options[name]) || options[name] < 1) problems.push(`--${name}: expected 1 or more`);
  }
  if (options.qos > 0 && options.window > 16_000) problems.push("--window: at most 16000 with QoS 1 and 2");
  if (options.mode === "ingest" && options.qos === 0) {
    problems.push("--mode ingest needs --qos 1 or 2: nothing else paces it");
  }
  if (options.mode === "live" && (options.pubs < 1 || options.subs < 1)) {
    problems.push("--mode live needs --pubs and --subs");
  }
  if (options.mode === "live" && !options.wildcard && !options.shared && options.subs < options.topics) {
    problems.push("--topics: more topics than subscribers would leave publishers unpaced");
  }
  return problems;
}
