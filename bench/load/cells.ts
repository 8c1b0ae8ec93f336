/**
 * The rows of the comparison: each cell is one load, the same for every broker.
 *
 * Payload 64 bytes, window 1000 unless the cell says otherwise. `needs` names what a broker must offer to take part.
 */

import type { LoadReport } from "./report.ts";

/** What not every peer has; a cell that needs `tls` is run over TLS alone. */
export type Feature = "qos1" | "qos2" | "shared" | "v5" | "tls";

/** The figure a cell compares; all but `p50_us` and `bytes_per_connection` are better when larger. */
export type CellMetric = "recv_per_s" | "ack_per_s" | "conn_per_s" | "p50_us" | "bytes_per_connection";

/** One row. */
export interface Cell {
  readonly name: string;
  readonly metric: CellMetric;
  /** Arguments of the load generator, without port, duration and watched process. */
  readonly load: readonly string[];
  readonly needs: readonly Feature[];
  /** Connections opened and closed before the measured run, for cells without a warm-up of their own. */
  readonly warmupConnections: number;
}

/** Connections of the cell `connects`. */
const CONNECTS = 5000;

/** Connections of the cell `idle-connections`. */
const IDLE_CONNECTIONS = 5000;

/** Connections of the cell `tls-connects`, each with a full handshake. */
const TLS_CONNECTS = 3000;

const WARMUP_CONNECTIONS = 500;

const MANY_TO_MANY = "--pubs 100 --subs 100 --topics 100 --window 100";
const FIFTY_TO_FIFTY = "--pubs 50 --subs 50 --topics 50 --window 20";

/** All cells, in the order of the table. */
export const CELLS: readonly Cell[] = [
  flow("qos0-1to1", "--qos 0"),
  flow("qos0-100to100-window100", `--qos 0 ${MANY_TO_MANY}`),
  flow("qos0-fanout-1to100", "--qos 0 --subs 100 --wildcard"),
  flow("qos0-fanin-100to1", "--qos 0 --pubs 100 --topics 100 --wildcard"),
  flow("qos0-10to10-1KiB", "--qos 0 --pubs 10 --subs 10 --topics 10 --size 1024"),
  flow("qos1-1to1-window100", "--qos 1 --window 100"),
  flow("qos1-50to50-window20", `--qos 1 ${FIFTY_TO_FIFTY}`),
  flow("qos2-50to50-window20", `--qos 2 ${FIFTY_TO_FIFTY}`, ["qos2"]),
  flow("shared-50to10-qos1", "--qos 1 --pubs 50 --subs 10 --topics 50 --window 20 --shared", ["shared"]),
  {
    ...flow("qos1-ingest-100-window100", "--mode ingest --qos 1 --pubs 100 --topics 100 --window 100"),
    metric: "ack_per_s",
  },
  flow("v5-qos0-100to100-window100", `--v5 --qos 0 ${MANY_TO_MANY}`, ["v5"]),
  flow("v5-qos1-50to50-window20", `--v5 --qos 1 ${FIFTY_TO_FIFTY}`, ["v5"]),
  { ...flow("roundtrip-1to1-window1", "--qos 0 --window 1"), metric: "p50_us" },
  connections("connects", "conn_per_s", `--mode connect --subs ${CONNECTS}`),
  connections("idle-connections", "bytes_per_connection", `--mode connect --subs ${IDLE_CONNECTIONS} --hold`),
  flow("tls-qos0-1to1", "--qos 0", ["tls"]),
  flow("tls-qos1-1to1-window100", "--qos 1 --window 100", ["tls", "qos1"]),
  connections("tls-connects", "conn_per_s", `--mode connect --subs ${TLS_CONNECTS}`, ["tls"]),
];

/**
 * Picks cells by name, in table order.
 *
 * @param names Empty = all.
 * @throws RangeError naming a cell that does not exist.
 */
export function pickCells(names: readonly string[]): readonly Cell[] {
  for (const name of names) {
    if (!CELLS.some((cell) => cell.name === name)) {
      throw new RangeError(`unknown cell "${name}"; there are ${CELLS.map((cell) => cell.name).join(", ")}`);
    }
  }
  return names.length === 0 ? CELLS : CELLS.filter((cell) => names.includes(cell.name));
}

/** Reads the figure a cell compares from a report; `bytes_per_connection` is measured elsewhere and gives 0. */
export function metricOf(cell: Cell, report: LoadReport): number {
  switch (cell.metric) {
    case "p50_us":
      return report.lat_us.p50;
    case "bytes_per_connection":
      return 0;
    default:
      return report[cell.metric];
  }
}

function flow(name: string, load: string, needs: readonly Feature[] = []): Cell {
  return { name, metric: "recv_per_s", load: load.split(" "), needs, warmupConnections: 0 };
}

function connections(name: string, metric: CellMetric, load: string, needs: readonly Feature[] = []): Cell {
  return { name, metric, load: load.split(" "), needs, warmupConnections: WARMUP_CONNECTIONS };
}
