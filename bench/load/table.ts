/**
 * Lays out the comparison as plain text: one line per cell, ours beside each peer, and what was not whole below.
 */

import type { Cell, CellMetric } from "./cells.ts";
import type { Measurement } from "./measure.ts";

/** What a broker reached in a cell: figures, or why there are none. */
export type Outcome = Measurement | { readonly skipped: string };

/** One finished row; outcomes in the order of the columns, ours first. */
export interface Row {
  readonly cell: Cell;
  readonly outcomes: readonly Outcome[];
}

/** Share of one core above which the generator counts as full. */
const FULL_CPU = 0.9;

/**
 * Says whether the load generator rather than the broker set the figure: the generator's core is full and the
 * broker's is not. False when the broker's share is unknown.
 */
export function isGeneratorLimited(measurement: Measurement): boolean {
  const { load_cpu, broker_cpu } = measurement.report;
  return load_cpu >= FULL_CPU && broker_cpu !== null && broker_cpu < FULL_CPU;
}

/**
 * Renders the table.
 *
 * @param names Names of the columns, ours first.
 * @returns Lines joined by line feeds: the table, the legend, one note per cell that was skipped or not whole.
 */
export function renderTable(names: readonly string[], rows: readonly Row[]): string {
  const peers = names.slice(1);
  const header = [
    "cell",
    "unit",
    ...names,
    ...peers.map((name) => `x ${name}`),
    ...names.map((name) => `${name} p50/p99 us`),
    "gaps",
    "dups",
  ];
  const body = rows.map((row) => [
    row.cell.name,
    UNITS[row.cell.metric],
    ...row.outcomes.map((outcome) => formatValue(row.cell.metric, outcome)),
    ...row.outcomes.slice(1).map((outcome) => formatRatio(row.outcomes[0]!, outcome)),
    ...row.outcomes.map(formatLatency),
    formatCounts(row.outcomes, "gaps"),
    formatCounts(row.outcomes, "dups"),
  ]);
  const legend = [
    "",
    `x: ours divided by the peer (for us and B/conn, less is better). gaps, dups: ${names.join(" / ")}.`,
    "g: the load generator's core was full and the broker's was not, so the broker could do more. !: see the notes.",
  ];
  return [...alignColumns([header, ...body]), ...legend, ...rows.flatMap((row) => notesOf(names, row))].join("\n");
}

/** Renders, one line per measured cell and broker, how busy generator and broker were: shares of one core. */
export function renderCpu(names: readonly string[], rows: readonly Row[]): string {
  const body = rows.flatMap((row) =>
    row.outcomes.flatMap((outcome, column) => {
      if ("skipped" in outcome) return [];
      const { load_cpu, broker_cpu } = outcome.report;
      return [[row.cell.name, names[column]!, load_cpu.toFixed(2), broker_cpu === null ? "-" : broker_cpu.toFixed(2)]];
    })
  );
  return alignColumns([["cpu (1 = one core)", "broker", "of generator", "of broker"], ...body]).join("\n");
}

const UNITS: Record<CellMetric, string> = {
  recv_per_s: "msg/s",
  ack_per_s: "msg/s",
  conn_per_s: "conn/s",
  p50_us: "us",
  bytes_per_connection: "B/conn",
};

function formatValue(metric: CellMetric, outcome: Outcome): string {
  if ("skipped" in outcome) return "-";
  const isRate = metric !== "p50_us" && metric !== "bytes_per_connection";
  const value = metric === "p50_us" ? outcome.value.toFixed(1) : groupThousands(outcome.value);
  return `${value}${isRate && isGeneratorLimited(outcome) ? " g" : ""}${outcome.whole ? "" : " !"}`;
}

function formatRatio(ours: Outcome, peer: Outcome): string {
  if ("skipped" in ours || "skipped" in peer || peer.value === 0) return "-";
  return (ours.value / peer.value).toFixed(2);
}

function formatLatency(outcome: Outcome): string {
  if ("skipped" in outcome) return "-";
  const { p50, p99 } = outcome.report.lat_us;
  return `${formatMicroseconds(p50)}/${formatMicroseconds(p99)}`;
}

function formatMicroseconds(value: number): string {
  return value < 100 ? value.toFixed(1) : groupThousands(value);
}

function formatCounts(outcomes: readonly Outcome[], field: "gaps" | "dups"): string {
  return outcomes.map((outcome) => ("skipped" in outcome ? "-" : `${outcome.report[field]}`)).join(" / ");
}

function notesOf(names: readonly string[], row: Row): string[] {
  return row.outcomes.flatMap((outcome, column) => {
    const subject = `${row.cell.name}, ${names[column]}`;
    if ("skipped" in outcome) return [`${subject}: skipped: ${outcome.skipped}`];
    if (outcome.whole) return [];
    const { gaps, dups, late, misrouted, refused, recv, expected, error } = outcome.report;
    const facts = `${recv} of ${expected} delivered, gaps ${gaps}, dups ${dups}, late ${late}, misrouted ${misrouted}`;
    return [`${subject}: not whole: ${facts}, refused ${refused}${error === null ? "" : `: ${error}`}`];
  });
}

function groupThousands(value: number): string {
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, " ");
}

function alignColumns(lines: readonly (readonly string[])[]): string[] {
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map((line) =>
    line.map((text, column) => (column < 2 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!)))
      .join("  ").trimEnd()
  );
}
