/**
 * Mode `connect`: opens many connections, times each from socket to CONNACK, and holds them.
 *
 * Held connections are idle on purpose: no read is pending on them and no ping is sent, so whoever holds them must be
 * done within the Keep Alive the generator asks for (packets.ts).
 */

import process from "node:process";
import { connectClient, openAll } from "./handshake.ts";
import { LatencyHistogram } from "./latency.ts";
import type { LoadOptions } from "./options.ts";
import { readCpuSeconds } from "./process_stats.ts";
import type { LoadReport } from "./report.ts";

/** Connections being opened at the same time. */
const CONNECT_CONCURRENCY = 50;

/** A finished connect run whose connections are still open. */
export interface HeldConnections {
  readonly report: LoadReport;
  /** Closes every connection. */
  close(): void;
}

/**
 * Opens `options.subs` connections.
 *
 * @throws HandshakeError or Deno's network errors when one of them cannot be opened; the others are closed.
 */
export async function runConnect(options: LoadOptions): Promise<HeldConnections> {
  const latency = new LatencyHistogram();
  const prefix = `conn${crypto.randomUUID().slice(0, 8)}`;
  const connections: Deno.Conn[] = [];
  const close = () => connections.splice(0).forEach((connection) => connection.close());
  const cpuBefore = process.cpuUsage();
  const brokerCpuBefore = options.watchPid > 0 ? readCpuSeconds(options.watchPid) : undefined;
  const startMs = performance.now();
  try {
    await openAll(options.subs, CONNECT_CONCURRENCY, async (index) => {
      const openedAtMs = performance.now();
      connections.push(await connectClient(options, `${prefix}n${index}`));
      latency.recordMs(performance.now() - openedAtMs);
    });
  } catch (cause) {
    close();
    throw cause;
  }
  const secs = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  const brokerCpu = options.watchPid > 0 ? readCpuSeconds(options.watchPid) : undefined;
  const report: LoadReport = {
    ...NOTHING_SENT,
    secs,
    conn_per_s: options.subs / secs,
    load_cpu: (user + system) / 1e6 / secs,
    broker_cpu: brokerCpu === undefined || brokerCpuBefore === undefined ? null : (brokerCpu - brokerCpuBefore) / secs,
    lat_us: latency.summarize(),
  };
  return { report, close };
}

const NOTHING_SENT = {
  mode: "connect",
  sent: 0,
  recv: 0,
  expected: 0,
  acked: 0,
  refused: 0,
  gaps: 0,
  dups: 0,
  late: 0,
  misrouted: 0,
  pub_per_s: 0,
  recv_per_s: 0,
  ack_per_s: 0,
  error: null,
} as const;
