/**
 * Topic Filters with wildcards as a tree of levels, each carrying one value.
 *
 *     node --- the next level by its text (`LevelNode`)  node.here  = value of the filter that ends at the node
 *         \--- plus:     the next level is `+`           node.below = value of that filter with `/#` behind it
 *
 * Example: `a/+/#` is root -> "a" -> plus, `below`; `#` is `below` of the root.
 *
 * Collecting walks the levels of a name with the list of all nodes that match so far. It visits each node at most
 * once and does not recurse, so neither depth nor hostile sets of filters can exhaust the stack. Nodes that carry
 * nothing and lead nowhere are removed.
 */

import { LevelNode } from "./level_node.ts";

const DOLLAR = 0x24;

/** A map from wildcard Topic Filters to values that answers which filters match a name. */
export class WildcardTree<V> {
  readonly #root = new Node<V>("");
  /** Scratch lists of `collect`, empty between calls. */
  #current: Node<V>[] = [];
  #next: Node<V>[] = [];

  /** Sets the value of a valid filter that ends in `#` or contains `+`. O(levels). */
  set(filter: string, value: V): void {
    const levels = filter.split("/");
    const isMultiLevel = levels.at(-1) === "#";
    if (isMultiLevel) levels.pop();
    let node = this.#root;
    for (const level of levels) node = node.descend(level);
    if (isMultiLevel) node.below = value;
    else node.here = value;
  }

  /** Removes a filter that was set, and the nodes that only it needed. O(levels). */
  delete(filter: string): void {
    const levels = filter.split("/");
    const isMultiLevel = levels.at(-1) === "#";
    if (isMultiLevel) levels.pop();
    const path = [this.#root];
    for (const level of levels) {
      const child = path.at(-1)!.next(level);
      if (child === undefined) return;
      path.push(child);
    }
    if (isMultiLevel) path.at(-1)!.below = undefined;
    else path.at(-1)!.here = undefined;
    for (let depth = levels.length; depth > 0 && path[depth]!.isEmpty; depth--) {
      path[depth - 1]!.cut(levels[depth - 1]!);
    }
  }

  /**
   * Appends the values of all filters that match a Topic Name.
   *
   * Wildcards at the first level do not match names that start with `$`. [MQTT-4.7.2-1]
   */
  collect(name: string, into: V[]): void {
    let current = this.#current;
    let next = this.#next;
    current.push(this.#root);
    let wildcardsApply = name.charCodeAt(0) !== DOLLAR;
    for (let start = 0; current.length > 0 && start <= name.length; wildcardsApply = true) {
      const slash = name.indexOf("/", start);
      const end = slash === -1 ? name.length : slash;
      const level = name.slice(start, end);
      for (const node of current) {
        if (wildcardsApply) {
          if (node.below !== undefined) into.push(node.below);
          if (node.plus !== undefined) next.push(node.plus);
        }
        const child = node.child(level);
        if (child !== undefined) next.push(child);
      }
      current.length = 0;
      const swap = current;
      current = next;
      next = swap;
      start = end + 1;
    }
    for (const node of current) {
      if (node.here !== undefined) into.push(node.here);
      // `sport/#` matches its parent level `sport` too. [MQTT 5.0, 4.7.1.2]
      if (node.below !== undefined) into.push(node.below);
    }
    current.length = 0;
    this.#current = current;
    this.#next = next;
  }

  /** True when no filter is set. */
  get isEmpty(): boolean {
    return this.#root.isEmpty;
  }
}

class Node<V> extends LevelNode<Node<V>> {
  plus: Node<V> | undefined = undefined;
  here: V | undefined = undefined;
  below: V | undefined = undefined;

  get isEmpty(): boolean {
    return !this.hasChildren && this.plus === undefined && this.here === undefined && this.below === undefined;
  }

  next(level: string): Node<V> | undefined {
    return level === "+" ? this.plus : this.child(level);
  }

  descend(level: string): Node<V> {
    if (level === "+") return this.plus ??= new Node(level);
    let child = this.child(level);
    if (child === undefined) {
      child = new Node(level);
      this.addChild(child);
    }
    return child;
  }

  cut(level: string): void {
    if (level === "+") this.plus = undefined;
    else this.removeChild(level);
  }
}
