/**
 * One level in a tree of Topic Names or Topic Filters, and the levels below it.
 *
 *     no child       only = undefined, many = undefined
 *     one child      only = the child, many = undefined        the child knows its own text
 *     two or more    only = undefined, many = children by text
 *
 * Most levels have one child, and a peer may send as many long chains of such levels as the bounds of the trees allow.
 * A Map for each of them is by far the largest part of a chain, so a Map exists only while it has two children. Heap
 * per level of 5000 chains of 128 levels, all told: Topic Names 60 bytes instead of 226 with a Map at every level, and
 * 84 when the texts of the levels differ; Topic Filters 79 instead of 244.
 *
 * The node does not know what is kept at a level: the trees add that.
 */

/** A node of a tree whose nodes are all of type N. */
export abstract class LevelNode<N extends LevelNode<N>> {
  /** The one child. */
  only: N | undefined = undefined;
  /** The children when there are two or more. */
  many: Map<string, N> | undefined = undefined;

  /** @param level Text of this level; "" for the root. */
  constructor(readonly level: string) {}

  /** True when there is a level below this one. */
  get hasChildren(): boolean {
    return this.only !== undefined || this.many !== undefined;
  }

  /** Finds the child with a text. O(1). */
  child(level: string): N | undefined {
    if (this.only !== undefined) return this.only.level === level ? this.only : undefined;
    return this.many?.get(level);
  }

  /** Adds a child whose text no other child has. */
  addChild(child: N): void {
    if (this.many !== undefined) {
      this.many.set(child.level, child);
    } else if (this.only === undefined) {
      this.only = child;
    } else {
      this.many = new Map([[this.only.level, this.only], [child.level, child]]);
      this.only = undefined;
    }
  }

  /** Removes the child with a text, if there is one. */
  removeChild(level: string): void {
    if (this.many === undefined) {
      if (this.only?.level === level) this.only = undefined;
      return;
    }
    this.many.delete(level);
    if (this.many.size > 1) return;
    for (const last of this.many.values()) this.only = last;
    this.many = undefined;
  }
}
