/**
 * What one run of the load generator reports, as one line of JSON on standard output.
 */

import type { LatencySummary } from "./latency.ts";

/** Result of one run. Rates cover the measured part only; counts and faults cover the whole run. */
export interface LoadReport {
  readonly mode: "live" | "ingest" | "connect";
  /** Messages sent by all publishers. */
  readonly sent: number;
  /** Deliveries received by all subscribers. */
  readonly recv: number;
  /** Deliveries that `sent` must cause. */
  readonly expected: number;
  /** Messages acknowledged to publishers (PUBACK or PUBCOMP); 0 for QoS 0. */
  readonly acked: number;
  /** Acknowledgements that refused a message, or matched none. */
  readonly refused: number;
  readonly gaps: number;
  readonly dups: number;
  readonly late: number;
  readonly misrouted: number;
  /** Length of the measured part in seconds. */
  readonly secs: number;
  /** Messages sent per second. */
  readonly pub_per_s: number;
  /** Deliveries per second. */
  readonly recv_per_s: number;
  /** Acknowledgements per second. */
  readonly ack_per_s: number;
  /** Connections accepted per second (mode connect). */
  readonly conn_per_s: number;
  /** Processor seconds of the generator per second; 1 means one core full. */
  readonly load_cpu: number;
  /** The same for the watched broker process, or null. */
  readonly broker_cpu: number | null;
  /** Delivery latency (live), acknowledgement latency (ingest) or connection latency (connect), microseconds. */
  readonly lat_us: LatencySummary;
  /** Why the run ended early, or null. */
  readonly error: string | null;
}

/** Exit code of a run in which something is missing, doubled, reordered, refused or lost. */
export const EXIT_INCOMPLETE = 5;

/** Says whether a run delivered everything once, in order, and was not cut short. */
export function isWhole(report: LoadReport): boolean {
  return report.error === null && report.recv === report.expected && report.refused === 0 && report.gaps === 0 &&
    report.dups === 0 && report.late === 0 && report.misrouted === 0;
}

/** Rounds the figures of a report to what they can mean: rates to whole numbers, seconds and shares to thousandths. */
export function roundReport(report: LoadReport): LoadReport {
  return {
    ...report,
    secs: roundTo(report.secs, 3),
    pub_per_s: Math.round(report.pub_per_s),
    recv_per_s: Math.round(report.recv_per_s),
    ack_per_s: Math.round(report.ack_per_s),
    conn_per_s: Math.round(report.conn_per_s),
    load_cpu: roundTo(report.load_cpu, 3),
    broker_cpu: report.broker_cpu === null ? null : roundTo(report.broker_cpu, 3),
  };
}

function roundTo(value: number, digits: number): number {
  const factor = 10 ** digits;
  return Math.round(value * factor) / factor;
}
