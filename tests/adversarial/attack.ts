/**
 * Plays fuzz cases against a broker: each opens a connection, usually with a legal CONNECT, sends damaged packets in
 * damaged portions, ends its half, and waits until the broker has ended the other. A broker that keeps a connection
 * open after that fails the case.
 */
import { within } from "../support/event_queue.ts";
import { Random } from "../support/random.ts";
import { type ByteStream, type Endpoint, isDisconnect, tcpStream } from "../support/raw_client.ts";
import { concatBytes } from "../support/wire_bytes.ts";
import { connectSeed, mutate, packetSeed } from "./mutator.ts";

/** Counts over all cases of an attack. */
export interface AttackReport {
  cases: number;
  /** Cases that got at least one byte back. */
  answered: number;
  bytesSent: number;
  bytesReceived: number;
}

const PACKETS_PER_CASE_MAX = 12;
const CASES_AT_ONCE = 8;

/**
 * Runs cases until `shouldStop` says so, several at a time; throws when the broker refuses a connection or leaves one
 * open. The cases of a seed are always the same; only their interleaving is not.
 */
export async function attack(
  endpoint: Endpoint,
  seed: number,
  shouldStop: (cases: number) => boolean,
): Promise<AttackReport> {
  const report: AttackReport = { cases: 0, answered: 0, bytesSent: 0, bytesReceived: 0 };
  const worker = async (): Promise<void> => {
    while (!shouldStop(report.cases)) {
      const number = report.cases;
      report.cases += 1;
      await playCase(endpoint, seed, number, report);
    }
  };
  await Promise.all(Array.from({ length: CASES_AT_ONCE }, worker));
  return report;
}

/** Builds the portions of bytes of one case; the same seed and number always give the same. */
export function caseBytes(seed: number, number: number): Uint8Array<ArrayBuffer>[] {
  const random = new Random(seed + Math.imul(number + 1, 0x85ebca6b));
  const version = random.pick([3, 4, 5, 5]);
  const connect = connectSeed(version, number, random);
  const packets = [random.oneIn(5) ? mutate(connect, random) : connect];
  const count = random.below(PACKETS_PER_CASE_MAX);
  for (let index = 0; index < count; index += 1) {
    const packet = packetSeed(version, random);
    packets.push(random.oneIn(3) ? packet : mutate(packet, random));
  }
  return splitAtRandom(concatBytes(...packets), random);
}

async function playCase(endpoint: Endpoint, seed: number, number: number, report: AttackReport): Promise<void> {
  const stream = tcpStream(await Deno.connect(endpoint));
  try {
    const reading = readToEnd(stream);
    await writePortions(stream, caseBytes(seed, number), report);
    const received = await within(reading, `the broker to close fuzz case ${number} of seed ${seed}`);
    report.bytesReceived += received;
    if (received > 0) report.answered += 1;
  } finally {
    stream.close();
  }
}

async function writePortions(stream: ByteStream, portions: readonly Uint8Array[], report: AttackReport): Promise<void> {
  try {
    for (const portion of portions) {
      await stream.write(portion);
      report.bytesSent += portion.length;
    }
    await stream.closeWrite();
  } catch (error) {
    // The broker may close before everything is sent: that is an answer.
    if (!isDisconnect(error)) throw error;
  }
}

async function readToEnd(stream: ByteStream): Promise<number> {
  let total = 0;
  for (;;) {
    const chunk = await stream.read();
    if (chunk === undefined) return total;
    total += chunk.length;
  }
}

function splitAtRandom(bytes: Uint8Array, random: Random): Uint8Array<ArrayBuffer>[] {
  const portions: Uint8Array<ArrayBuffer>[] = [];
  let position = 0;
  while (position < bytes.length) {
    const end = random.oneIn(2) ? bytes.length : position + 1 + random.below(20);
    portions.push(bytes.slice(position, end));
    position = end;
  }
  return portions;
}
