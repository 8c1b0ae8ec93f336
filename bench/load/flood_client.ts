/**
 * The misbehaving side of the flood, in a process of its own: starts bad connects at a steady rate, a bounded number
 * open at a time, and counts how each kind was answered.
 *
 *     deno run -A bench/load/flood_client.ts --port 1883 --tls-port 8883 --count 10000 --rate 1000 --addresses 100
 *
 * It comes from as many loopback addresses as asked for (127.1.0.1, 127.1.0.2 …; 0 = whatever the system takes), because
 * a broker's answer to one address that fails again and again differs from its answer to many. `node:net` is used for
 * that: Deno's own sockets cannot choose their address.
 *
 * Two lines on standard output: `sent` when the last attempt was started, then the counts as JSON.
 */

import net from "node:net";
import tls from "node:tls";
import { type Attack, type AttackEnd, attacksWith, nameAnswer } from "./flood_attacks.ts";

/** What the flood is made of. */
export interface FloodOptions {
  /** Ports on 127.0.0.1. */
  readonly tcpPort: number;
  readonly tlsPort: number;
  /** Attempts in all. */
  readonly count: number;
  /** Attempts started per second, as far as `OPEN_MAX` allows. */
  readonly ratePerSecond: number;
  readonly addresses: number;
  /** A user that exists. */
  readonly username: string;
  /** Kinds of attempts by name; empty = all. */
  readonly kinds: readonly string[];
}

/** What became of it. */
export interface FloodReport {
  /** Attempts per second that were really started. */
  readonly per_s: number;
  /** By kind of attempt, then by answer. */
  readonly answers: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** Attempts open at the same time. */
const OPEN_MAX = 4_000;
const TICK_MS = 2;
/** How long an attempt that wants no answer tries to connect. */
const CONNECT_MS = 5_000;
const FIRST_BYTES = 64;

/**
 * Floods a broker.
 *
 * @param handleSent Called when the last attempt has been started.
 * @returns When the last attempt has ended.
 */
export async function flood(options: FloodOptions, handleSent: () => void): Promise<FloodReport> {
  const attacks = attacksWith({ username: options.username, clientHello: await recordClientHello() })
    .filter(({ name }) => options.kinds.length === 0 || options.kinds.includes(name));
  const answers: Record<string, Record<string, number>> = {};
  const idle = Promise.withResolvers<void>();
  let open = 0;
  let started = 0;
  const start = (index: number) => {
    const attack = attacks[index % attacks.length]!;
    open++;
    void attempt(attack, index, options, addressOf(Math.floor(index / attacks.length), options.addresses)).then(
      (answer) => {
        const counts = answers[attack.name] ??= {};
        counts[answer] = (counts[answer] ?? 0) + 1;
        if (--open === 0 && started === options.count) idle.resolve();
      },
    );
  };
  const beginMs = performance.now();
  while (started < options.count) {
    const due = Math.ceil((performance.now() - beginMs) / 1000 * options.ratePerSecond);
    // What was due while this process did not run comes later, not all at once: the flood is to be a steady one.
    const end = Math.min(due, options.count, started + Math.ceil(options.ratePerSecond * 2 * TICK_MS / 1000));
    while (started < end && open < OPEN_MAX) start(started++);
    if (started < options.count) await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  const per_s = options.count / ((performance.now() - beginMs) / 1000);
  handleSent();
  if (open > 0) await idle.promise;
  return { per_s, answers };
}

/** Makes one attempt and names how it was answered. Never rejects. */
function attempt(
  attack: Attack,
  index: number,
  options: FloodOptions,
  localAddress: string | undefined,
): Promise<string> {
  return new Promise((resolve) => {
    const port = attack.door === "tcp" ? options.tcpPort : options.tlsPort;
    const socket = net.connect({ host: "127.0.0.1", port, ...(localAddress !== undefined && { localAddress }) });
    let first = new Uint8Array(0);
    let end: AttackEnd = "closed";
    const timer = setTimeout(() => leave(), attack.patienceMs === 0 ? CONNECT_MS : attack.patienceMs);
    const leave = () => {
      end = "left";
      socket.destroy();
    };
    socket.on("connect", () => {
      const bytes = attack.bytes(index);
      if (bytes.length > 0) socket.write(bytes);
      if (attack.patienceMs === 0) leave();
    });
    socket.on("data", (chunk) => {
      if (first.length < 4) first = Uint8Array.from([...first, ...(chunk as Uint8Array).subarray(0, FIRST_BYTES)]);
    });
    socket.on("error", (cause: Error & { code?: string }) => {
      end = cause.code === "ECONNREFUSED" ? "refused" : "reset";
    });
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(attack.patienceMs === 0 && end === "left" ? "left at once" : nameAnswer(first, end));
    });
  });
}

/** Takes the addresses in turn, one for a whole round of kinds, so that each kind comes from all of them. */
function addressOf(round: number, addresses: number): string | undefined {
  if (addresses === 0) return undefined;
  const number = round % addresses;
  return `127.1.${Math.floor(number / 250)}.${1 + number % 250}`;
}

/** Lets a real TLS client begin a handshake with a listener that only listens, and keeps what it said. */
async function recordClientHello(): Promise<Uint8Array> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const client = tls.connect({ host: "127.0.0.1", port: listener.addr.port });
  client.on("error", () => {});
  const connection = await listener.accept();
  const bytes = new Uint8Array(16_384);
  const count = await connection.read(bytes) ?? 0;
  client.destroy();
  connection.close();
  listener.close();
  return bytes.slice(0, count);
}

if (import.meta.main) {
  const textOf = (name: string, otherwise: string) => {
    const at = Deno.args.indexOf(`--${name}`);
    return at < 0 ? otherwise : Deno.args[at + 1] ?? otherwise;
  };
  const options: FloodOptions = {
    tcpPort: Number(textOf("port", "1883")),
    tlsPort: Number(textOf("tls-port", "8883")),
    count: Number(textOf("count", "10000")),
    ratePerSecond: Number(textOf("rate", "1000")),
    addresses: Number(textOf("addresses", "100")),
    username: textOf("username", "honest"),
    kinds: textOf("kinds", "").split(",").filter((name) => name !== ""),
  };
  const print = (line: string) => Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
  print(JSON.stringify(await flood(options, () => print("sent"))));
  Deno.exit(0);
}
