/**
 * What a crash test says in the end.
 */

import type { Fault } from "./ledger.ts";
import type { CrashtestRun } from "./run.ts";

/** The result as data. */
export interface CrashtestReport {
  readonly isProven: boolean;
  readonly seed: number;
  readonly kills: number;
  /** Among `kills`. */
  readonly killsWhileStarting: number;
  readonly sent: number;
  readonly acknowledged: number;
  /** At all receivers, duplicates included. */
  readonly delivered: number;
  readonly duplicates: { readonly qos1: number; readonly qos2: number };
  readonly lost: number;
  readonly readyMs: { readonly p50: number; readonly max: number };
  readonly faults: { readonly [kind in Fault]?: number };
  readonly examples: readonly string[];
  /** What clients complained of; no broken promise by itself. */
  readonly troubles: readonly string[];
}

/** Draws up the result of a run that has ended. */
export function reportOf(
  { ledger, options, kills, killsWhileStarting, readyMs, traffic }: CrashtestRun,
): CrashtestReport {
  const sorted = [...readyMs].sort((a, b) => a - b);
  return {
    isProven: ledger.faults.size === 0,
    seed: options.seed,
    kills,
    killsWhileStarting,
    sent: ledger.topics.reduce((sum, topic) => sum + topic.sent, 0),
    acknowledged: ledger.acknowledged,
    delivered: ledger.delivered,
    duplicates: { qos1: ledger.duplicatesQos1, qos2: ledger.duplicatesQos2 },
    lost: ledger.faults.get("lost") ?? 0,
    readyMs: { p50: sorted[sorted.length >> 1] ?? 0, max: sorted.at(-1) ?? 0 },
    faults: Object.fromEntries(ledger.faults),
    examples: ledger.examples,
    troubles: traffic.troubles,
  };
}

/** The result for people. */
export function renderReport(report: CrashtestReport): string {
  const { kills, killsWhileStarting, duplicates, readyMs } = report;
  const lines = [
    `kills          ${kills} (${killsWhileStarting} while starting)`,
    `sent           ${report.sent}`,
    `acknowledged   ${report.acknowledged}`,
    `delivered      ${report.delivered}`,
    `duplicates     ${duplicates.qos1} at QoS 1, ${duplicates.qos2} at QoS 2`,
    `lost           ${report.lost}`,
    `time to ready  p50 ${readyMs.p50} ms, max ${readyMs.max} ms`,
    `seed           ${report.seed}`,
  ];
  if (report.troubles.length > 0) lines.push("clients said", ...report.troubles.map((text) => `  ${text}`));
  if (report.isProven) {
    return [...lines, "PROVEN: every acknowledged message was delivered, at QoS 2 exactly once and in order"].join(
      "\n",
    );
  }
  const kinds = Object.entries(report.faults).map(([kind, count]) => `${FAULT_NAMES[kind as Fault]}: ${count}`);
  return [...lines, `BROKEN: ${kinds.join(", ")}`, ...report.examples.map((text) => `  ${text}`)].join("\n");
}

const FAULT_NAMES: Readonly<Record<Fault, string>> = {
  lost: "acknowledged and lost",
  duplicate_qos2: "duplicates at QoS 2",
  out_of_order: "out of order",
  never_sent: "never sent",
  session_lost: "Sessions lost",
  retained_lost: "Retained Messages lost",
  stalled: "stalled",
  broker_ended: "broker ended by itself",
};
