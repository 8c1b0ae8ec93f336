/**
 * Retained Messages by Topic Name: one value per name, found by name or by Topic Filter. [MQTT 5.0, 3.3.1.3]
 *
 * Every entry is in a Map by its full name, for the publisher that replaces it again and again, and in a tree of
 * levels, for the subscriber that asks with wildcards:
 *
 *     node --- the next level by its text (`LevelNode`)      node.entry = the retained value of the name that ends here
 *
 * A filter walks the tree only below its literal levels: `plant/7/#` never looks at `plant/8`. `+` and `#` at the
 * first level skip names that start with `$`. [MQTT-4.7.2-1] The walk keeps its own stack of nodes, so depth is bound
 * by memory only. A cleared entry is removed, with the nodes that only it needed, a little later (`VacancyRing`).
 *
 * The index does not know what a value is, when it expires, or who may read it.
 */

import { LevelNode } from "./level_node.ts";
import { hasWildcard, levelCount, TREE_LEVELS_MAX } from "./topic_rules.ts";
import { VacancyRing, type Vacatable } from "./vacancy_ring.ts";

const DOLLAR = 0x24;

/** The retained values, by name and by filter. A value is never undefined. */
export class RetainedIndex<V> {
  readonly #entries = new Map<string, Entry<V>>();
  readonly #root = new Node<V>("");
  readonly #vacancies = new VacancyRing<Entry<V>>((empty) => this.#remove(empty.name));
  readonly #levelsMax: number;
  #levels = 0;
  #size = 0;

  /** @param levelsMax Levels of all names together that `hasRoomFor` allows. */
  constructor(levelsMax: number = TREE_LEVELS_MAX) {
    this.#levelsMax = levelsMax;
  }

  /** False when a new name would make the tree larger than it may be; a known name always has room. O(levels). */
  hasRoomFor(name: string): boolean {
    return this.#entries.has(name) || this.#levels + levelCount(name) <= this.#levelsMax;
  }

  /** Names with a value. */
  get size(): number {
    return this.#size;
  }

  /** Returns the value of a name, or undefined. O(1). */
  get(name: string): V | undefined {
    return this.#entries.get(name)?.value;
  }

  /**
   * Sets or replaces the value of a valid Topic Name. O(1) for a known name, else O(levels).
   *
   * @returns The value that was replaced.
   */
  set(name: string, value: V): V | undefined {
    const entry = this.#entries.get(name) ?? this.#open(name);
    const replaced = entry.value;
    entry.value = value;
    if (replaced === undefined) this.#size++;
    return replaced;
  }

  /** Clears a name and returns its value, or undefined when there was none. O(1) plus at most one removal. */
  delete(name: string): V | undefined {
    const entry = this.#entries.get(name);
    const removed = entry?.value;
    if (entry === undefined || removed === undefined) return undefined;
    entry.value = undefined;
    this.#size--;
    this.#vacancies.push(entry);
    return removed;
  }

  /**
   * Visits the entries whose names a valid Topic Filter matches, in no particular order.
   *
   * Costs O(1) for a filter without wildcards, else the nodes below its literal levels.
   *
   * @param visit May set and delete entries; whether one that is set meanwhile is visited is undefined.
   */
  match(filter: string, visit: (name: string, value: V) => void): void {
    if (!hasWildcard(filter)) {
      const value = this.get(filter);
      if (value !== undefined) visit(filter, value);
      return;
    }
    const levels = filter.split("/");
    const isMultiLevel = levels.at(-1) === "#";
    if (isMultiLevel) levels.pop();
    // Two parallel stacks: a node, and how many levels of the filter led to it.
    const nodes = [this.#root];
    const depths = [0];
    for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
      const depth = depths.pop()!;
      if (depth < levels.length) {
        pushMatching(node, levels[depth]!, depth, nodes, depths);
        continue;
      }
      const value = node.entry?.value;
      if (value !== undefined) visit(node.entry!.name, value);
      if (isMultiLevel) pushMatching(node, "+", depth, nodes, depths);
    }
  }

  /** All entries as `[name, value]`, in no particular order. */
  *[Symbol.iterator](): IterableIterator<[name: string, value: V]> {
    for (const entry of this.#entries.values()) {
      if (entry.value !== undefined) yield [entry.name, entry.value];
    }
  }

  #open(name: string): Entry<V> {
    const entry = new Entry<V>(name);
    this.#entries.set(name, entry);
    this.#levels += levelCount(name);
    let node = this.#root;
    for (const level of name.split("/")) node = node.descend(level);
    node.entry = entry;
    return entry;
  }

  #remove(name: string): void {
    this.#entries.delete(name);
    const levels = name.split("/");
    this.#levels -= levels.length;
    const path = [this.#root];
    for (const level of levels) path.push(path.at(-1)!.child(level)!);
    path.at(-1)!.entry = undefined;
    for (let depth = levels.length; depth > 0 && path[depth]!.isEmpty; depth--) {
      path[depth - 1]!.removeChild(levels[depth - 1]!);
    }
  }
}

class Entry<V> implements Vacatable {
  value: V | undefined = undefined;
  isWaiting = false;

  constructor(readonly name: string) {}

  get isEmpty(): boolean {
    return this.value === undefined;
  }
}

class Node<V> extends LevelNode<Node<V>> {
  entry: Entry<V> | undefined = undefined;

  get isEmpty(): boolean {
    return !this.hasChildren && this.entry === undefined;
  }

  descend(level: string): Node<V> {
    let child = this.child(level);
    if (child === undefined) {
      child = new Node(level);
      this.addChild(child);
    }
    return child;
  }
}

/** Pushes the children that one level of a filter, a literal or `+`, leads to. */
function pushMatching<V>(node: Node<V>, level: string, depth: number, nodes: Node<V>[], depths: number[]): void {
  if (level !== "+" || node.only !== undefined) {
    const child = level === "+" ? node.only : node.child(level);
    if (child === undefined || (level === "+" && isHidden(child, depth))) return;
    nodes.push(child);
    depths.push(depth + 1);
    return;
  }
  if (node.many === undefined) return;
  for (const [, child] of node.many) {
    if (isHidden(child, depth)) continue;
    nodes.push(child);
    depths.push(depth + 1);
  }
}

/** True for a node that wildcards do not reach: `$` begins its name. [MQTT-4.7.2-1] */
function isHidden<V>(node: Node<V>, parentDepth: number): boolean {
  return parentDepth === 0 && node.level.charCodeAt(0) === DOLLAR;
}
