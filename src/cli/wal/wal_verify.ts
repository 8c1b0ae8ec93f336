/**
 * `promptmq wal verify`: is every byte of a log what was written?
 */

import type { Disk } from "../../storage/disk/disk.ts";
import { isDamage, type Problem, sumOf, surveyLog } from "./wal_survey.ts";

/** What was looked at, and what is wrong with it. */
export interface Verification {
  readonly segments: number;
  readonly blocks: number;
  readonly records: number;
  readonly problems: readonly Problem[];
  /** True when something of the log is damaged or missing. */
  readonly isDamaged: boolean;
}

/** Checks every header, block and record, and that each segment starts where the one before ends. */
export function verifyLog(disk: Disk, directory: string): Verification {
  let [segments, blocks, records] = [0, 0, 0];
  const problems: Problem[] = [];
  for (const survey of surveyLog(disk, directory, () => {})) {
    segments++;
    blocks += survey.blocks;
    records += sumOf(survey.records);
    problems.push(...survey.problems);
  }
  return { segments, blocks, records, problems, isDamaged: problems.some(isDamage) };
}

/** One line per problem, and a last one with the verdict. */
export function renderVerification({ segments, blocks, records, problems, isDamaged }: Verification): string {
  const lines = problems.map(renderProblem);
  const damaged = problems.filter(isDamage).length;
  const torn = problems.some(({ kind }) => kind === "torn_tail")
    ? ", but for a torn tail, which the next start cuts"
    : "";
  const verdict = isDamaged ? `damaged: ${damaged} ${damaged === 1 ? "place" : "places"}` : `sound${torn}`;
  return [...lines, `${verdict} (${segments} segments, ${blocks} blocks, ${records} records)`].join("\n");
}

/** What is wrong, where, and what it means. */
export function renderProblem({ kind, segment, firstLsn, endLsn, reason }: Problem): string {
  const range = endLsn > firstLsn ? `LSN ${firstLsn} to ${endLsn} (${endLsn - firstLsn} bytes)` : `LSN ${firstLsn}`;
  return `${segment}: ${KIND_NAMES[kind]}, ${range}: ${reason}`;
}

const KIND_NAMES: Readonly<Record<Problem["kind"], string>> = {
  damage: "damage",
  gap: "gap",
  header: "damage",
  torn_tail: "torn tail",
  overlap: "overlap (no damage)",
};
