/**
 * What `wal inspect` found, as tables for people.
 */

import type { Inspection } from "./wal_inspect.ts";
import { isoTime } from "./wal_record.ts";
import { type Problem, type RecordCounts, type SegmentSurvey, sumOf } from "./wal_survey.ts";
import { renderProblem } from "./wal_verify.ts";

/** The whole report, without a line end. */
export function renderInspection(inspection: Inspection): string {
  const { segments, totals, topics, topicCount, live, setAside } = inspection;
  const parts = [`log ${inspection.directory}`, "", renderTable(SEGMENT_COLUMNS, segments.map(segmentRow))];
  const problems = segments.flatMap((segment) => segment.problems);
  if (problems.length > 0) {
    parts.push(
      "",
      "not as it was written:",
      ...problems.map((problem: Problem) => `  ${renderProblem(problem)}`),
    );
  }
  if (setAside.length > 0) parts.push("", `put aside by recovery: ${setAside.join(", ")}`);
  parts.push(
    "",
    `${segments.length} segments, ${totals.bytes} bytes, ${totals.blocks} blocks, ${describeRecords(totals.records)}`,
  );
  if (topicCount > 0) {
    const rows = topics.map(({ topic, messages, bytes }) => [topic, `${messages}`, `${bytes}`]);
    parts.push(
      "",
      `topics: ${topics.length} busiest of ${topicCount}`,
      renderTable(["topic", ">messages", ">bytes"], rows),
    );
  }
  parts.push("", ...renderLive(live));
  return parts.join("\n");
}

/**
 * A table with a head and aligned columns.
 *
 * @param columns Their heads; `>` in front aligns to the right.
 */
export function renderTable(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const heads = columns.map((column) => column.replace(/^>/, ""));
  const widths = heads.map((head, index) =>
    rows.reduce((width, row) => Math.max(width, (row[index] ?? "").length), head.length)
  );
  const line = (cells: readonly string[]) =>
    cells.map((cell, index) =>
      columns[index]!.startsWith(">") ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!)
    )
      .join("  ").trimEnd();
  return [heads, ...rows].map(line).join("\n");
}

const SEGMENT_COLUMNS = [
  "segment",
  ">first LSN",
  ">end LSN",
  ">bytes",
  ">blocks",
  ">publish",
  ">progress",
  ">release",
  ">route",
  ">change",
  "first written",
  "last written",
  "state",
];

function segmentRow(segment: SegmentSurvey): string[] {
  const { publish, progress, release, route, change } = segment.records;
  const counts = [
    segment.firstLsn,
    segment.endLsn,
    segment.bytes,
    segment.blocks,
    publish,
    progress,
    release,
    route,
    change,
  ];
  const kinds = new Set(segment.problems.map(({ kind }) => kind.replace("_", " ")));
  const times = [isoTime(segment.firstWrittenMs), isoTime(segment.lastWrittenMs)];
  return [segment.name, ...counts.map(String), ...times, kinds.size === 0 ? "whole" : [...kinds].join(", ")];
}

function describeRecords(records: RecordCounts): string {
  const types = Object.entries(records).filter(([, count]) => count > 0).map(([type, count]) => `${count} ${type}`);
  return `${sumOf(records)} records${types.length === 0 ? "" : ` (${types.join(", ")})`}`;
}

function renderLive(live: Inspection["live"]): string[] {
  if ("unknown" in live) return [`what is owed is not known: ${live.unknown}`];
  const { messages, owed, waitingForGroups, retained, sessions } = live;
  const group = waitingForGroups === 0 ? "" : `, ${waitingForGroups} waiting for a shared group`;
  const what = `${owed} deliveries owed to ${sessions.length} Sessions${group}, ${retained} retained`;
  const rows = sessions.slice(0, SESSIONS_LISTED)
    .map(({ session, clientId, owed }) => [`${session}`, clientId, `${owed}`]);
  const table = rows.length === 0 ? [] : [renderTable([">session", "client", ">owed"], rows)];
  return [`live: ${messages} messages (${what})`, ...table];
}

/** Sessions in the table, the ones that are owed most; JSON has them all. */
const SESSIONS_LISTED = 20;
