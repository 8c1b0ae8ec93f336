/**
 * Topic Aliases of one connection, in both directions. [MQTT 5.0, 3.3.2.3.4]
 *
 * Inbound, the client chooses: the table grows as aliases are used, up to the announced Topic Alias Maximum. Outbound,
 * the broker chooses: the first topics get the first aliases, later ones replace the oldest in turn, so the table is
 * bounded whatever a client allows.
 */
import type { AliasTable } from "../protocol/publish_encoder.ts";
import type { Topic } from "../topics/topic.ts";

/** Aliases the client uses towards the broker. */
export class InboundAliases {
  readonly #topics = new Map<number, Topic>();
  #bytes = 0;

  /** The topic an alias stands for, or undefined when it has not been set. */
  get(alias: number): Topic | undefined {
    return this.#topics.get(alias);
  }

  /**
   * Sets or replaces an alias. The caller has checked it against the maximum.
   *
   * @returns False when the client's aliases would take more memory than a connection may.
   */
  set(alias: number, topic: Topic): boolean {
    const replaced = this.#topics.get(alias);
    const bytes = this.#bytes + topic.utf8.length - (replaced === undefined ? 0 : replaced.utf8.length);
    if (bytes > INBOUND_BYTES_MAX) return false;
    this.#bytes = bytes;
    this.#topics.set(alias, topic);
    return true;
  }
}

/** Aliases the broker uses towards the client. */
export class OutboundAliases implements AliasTable {
  readonly #max: number;
  readonly #aliases = new Map<string, number>();
  readonly #names: string[] = [];
  #oldest = 0;

  /** @param clientMax Topic Alias Maximum of the client, at least 1. */
  constructor(clientMax: number) {
    this.#max = Math.min(clientMax, OUTBOUND_ALIASES_MAX);
  }

  /** The alias a receiver already knows for a Topic Name, or 0. */
  find(name: string): number {
    return this.#aliases.get(name) ?? 0;
  }

  /** The alias that `assign` gives next. */
  get next(): number {
    return this.#oldest + 1;
  }

  /** Gives a Topic Name the alias `next`, from its present owner when all are used. */
  assign(name: string): void {
    const index = this.#oldest;
    this.#oldest = (index + 1) % this.#max;
    const replaced = this.#names[index];
    if (replaced !== undefined) this.#aliases.delete(replaced);
    this.#names[index] = name;
    this.#aliases.set(name, index + 1);
  }
}

/** Bytes of Topic Names that one client's aliases may keep alive: 65 535 aliases of 64 bytes fit. */
const INBOUND_BYTES_MAX = 4_325_376;
/** More than this many topics per client gain nothing: the table would outgrow what it saves. */
const OUTBOUND_ALIASES_MAX = 256;
