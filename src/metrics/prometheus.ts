/**
 * Text exposition format 0.0.4 of Prometheus: values in, one string out.
 *
 * A *family* is one metric name with its help, type and samples. This file knows how a family is written and
 * nothing about what the families mean; `broker_families.ts` and the collectors registered at `Metrics` do.
 *
 * Worked example, the histogram `h` with the bounds 1 and 5 after observing 0.5, 3 and 9:
 * ```text
 * # HELP h Seconds something took.
 * # TYPE h histogram
 * h_bucket{le="1"} 1
 * h_bucket{le="5"} 2
 * h_bucket{le="+Inf"} 3
 * h_sum 12.5
 * h_count 3
 * ```
 */
import type { Histogram } from "./histogram.ts";

/** One value of a family. */
export interface Sample {
  /** Label names and values; values may hold any characters. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A counter or gauge with any number of samples; none at all is legal and shows only help and type. */
export interface ScalarFamily {
  readonly type: "counter" | "gauge";
  /** Full name, `promptmq_<noun>_<unit>`. */
  readonly name: string;
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** A histogram without labels. */
export interface HistogramFamily {
  readonly type: "histogram";
  /** Full name, `promptmq_<noun>_<unit>`. */
  readonly name: string;
  readonly help: string;
  readonly histogram: Histogram;
}

/** One metric name with everything known about it at this moment. */
export type Family = ScalarFamily | HistogramFamily;

/** The value of the header `Content-Type` that goes with `renderFamilies`. */
export const EXPOSITION_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/**
 * Makes a family of exactly one sample without labels.
 *
 * @param name Full name, `promptmq_<noun>_<unit>`.
 */
export function scalar(type: ScalarFamily["type"], name: string, help: string, value: number): ScalarFamily {
  return { type, name, help, samples: [{ value }] };
}

/**
 * Writes families in their order. O(samples).
 *
 * @returns Lines that each end in `\n`; the empty string for no families.
 */
export function renderFamilies(families: readonly Family[]): string {
  const lines: string[] = [];
  for (const family of families) {
    lines.push(`# HELP ${family.name} ${escapeHelp(family.help)}`, `# TYPE ${family.name} ${family.type}`);
    if (family.type === "histogram") {
      pushHistogram(lines, family.name, family.histogram);
    } else {
      for (const sample of family.samples) {
        lines.push(`${family.name}${renderLabels(sample.labels)} ${renderNumber(sample.value)}`);
      }
    }
  }
  return lines.length === 0 ? "" : lines.join("\n") + "\n";
}

/** Buckets of the exposition are cumulative, those of `Histogram` are not. */
function pushHistogram(lines: string[], name: string, histogram: Histogram): void {
  let cumulative = 0;
  histogram.bounds.forEach((bound, bucket) => {
    cumulative += histogram.counts[bucket]!;
    lines.push(`${name}_bucket{le="${renderNumber(bound)}"} ${renderNumber(cumulative)}`);
  });
  lines.push(
    `${name}_bucket{le="+Inf"} ${renderNumber(histogram.count)}`,
    `${name}_sum ${renderNumber(histogram.sum)}`,
    `${name}_count ${renderNumber(histogram.count)}`,
  );
}

function renderLabels(labels: Sample["labels"]): string {
  if (labels === undefined) return "";
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function renderNumber(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return String(value);
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
