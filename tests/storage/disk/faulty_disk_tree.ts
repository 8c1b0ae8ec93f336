/**
 * The files and directories of `faulty_disk.ts`: what programs see, what is safe on the device, and in order what
 * stands between the two. A power cut (`surviveNode`) and a failed sync (`FileNode.lose`) decide what becomes of that;
 * paths, faults and room are not known here.
 */

/** Where chance comes from; `Random` is one. */
export interface Chance {
  /** An integer from 0 up to but not including `limit`. */
  below(limit: number): number;
}

/** Smallest unit that a device writes whole. */
export const SECTOR_BYTES = 512;

/** What a name stands for. */
export type Node = FileNode | DirectoryNode;

/** A change of a file. */
export type FileChange =
  | { readonly kind: "write"; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: "resize"; readonly size: number };

/** A change of the names in a directory. */
export type NameChange =
  | { readonly kind: "set"; readonly name: string; readonly node: Node }
  | { readonly kind: "remove"; readonly name: string }
  | { readonly kind: "rename"; readonly from: string; readonly name: string; readonly node: Node };

/** Bytes that grow as they are written; what is skipped is zero. */
export class GrowingBytes {
  size = 0;
  #bytes = new Uint8Array(0);

  write(at: number, source: Uint8Array): void {
    if (source.length === 0) return;
    if (at + source.length > this.size) this.resize(at + source.length);
    this.#bytes.set(source, at);
  }

  resize(size: number): void {
    if (size < this.size) this.#bytes.fill(0, size, this.size);
    if (size > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(size, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.size = size;
  }

  /** Zeros a range as far as there are bytes. */
  clear(from: number, to: number): void {
    this.#bytes.fill(0, from, Math.min(to, this.size));
  }

  read(into: Uint8Array, at: number): number {
    const got = this.#bytes.subarray(Math.min(at, this.size), Math.min(at + into.length, this.size));
    into.set(got);
    return got.length;
  }

  copy(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.size);
  }

  clone(): GrowingBytes {
    const clone = new GrowingBytes();
    clone.write(0, this.copy());
    return clone;
  }
}

/** A file without its names. */
export class FileNode {
  seen = new GrowingBytes();
  safe = new GrowingBytes();
  /** Changes that are seen and not safe, in order. */
  pending: FileChange[] = [];
  /** Changes that left `pending`, so that a sync knows how many of those it covers are still there. */
  forgotten = 0;
  /** What the device cannot read any more. */
  broken: { readonly from: number; readonly to: number }[] = [];

  apply(change: FileChange): void {
    applyChange(this.seen, change);
    this.pending.push(change);
  }

  makeSafe(count: number): void {
    for (const change of this.#forget(count)) applyChange(this.safe, change);
  }

  /** A failed sync: any part of the changes arrived, and nobody tries again. */
  lose(count: number, chance: Chance): void {
    tear(this.safe, this.#forget(count), chance);
  }

  #forget(count: number): FileChange[] {
    const changes = this.pending.splice(0, Math.max(0, count));
    this.forgotten += changes.length;
    return changes;
  }
}

/** A directory without its name. */
export class DirectoryNode {
  readonly entries = new Map<string, Node>();
  readonly safe = new Map<string, Node>();
  readonly pending: NameChange[] = [];
  /** See `FileNode.forgotten`. */
  forgotten = 0;

  apply(change: NameChange): void {
    applyName(this.entries, change);
    this.pending.push(change);
  }

  makeSafe(count: number): void {
    for (const change of this.pending.splice(0, Math.max(0, count))) {
      applyName(this.safe, change);
      this.forgotten += 1;
    }
  }

  /** Sets a name, in what is seen and what is safe; the other names stay as they are. */
  putSafe(name: string, node: Node): void {
    this.entries.set(name, node);
    this.safe.set(name, node);
  }
}

function applyChange(bytes: GrowingBytes, change: FileChange): void {
  if (change.kind === "write") bytes.write(change.at, change.bytes);
  else bytes.resize(change.size);
}

function applyName(names: Map<string, Node>, change: NameChange): void {
  if (change.kind === "rename") names.delete(change.from);
  if (change.kind === "remove") names.delete(change.name);
  else names.set(change.name, change.node);
}

/** Applies any part of the changes: each sector stops after any of the changes that touch it, and so does the size. */
function tear(bytes: GrowingBytes, changes: readonly FileChange[], chance: Chance): void {
  const sizes = [bytes.size];
  const touches = new Map<number, number[]>();
  let extent = bytes.size;
  changes.forEach((change, index) => {
    const [from, to] = rangeOf(change, extent);
    extent = Math.max(extent, to);
    sizes.push(change.kind === "resize" ? change.size : Math.max(sizes.at(-1)!, to));
    for (let sector = Math.floor(from / SECTOR_BYTES); sector * SECTOR_BYTES < to; sector++) {
      const touching = touches.get(sector);
      if (touching === undefined) touches.set(sector, [index]);
      else touching.push(index);
    }
  });
  for (const [sector, indexes] of touches) {
    const kept = chance.below(indexes.length + 1);
    for (const index of indexes.slice(0, kept)) applySector(bytes, changes[index]!, sector * SECTOR_BYTES);
  }
  bytes.resize(sizes[chance.below(sizes.length)]!);
}

/** The bytes that a change touches in a file that had `extent` bytes at most. */
function rangeOf(change: FileChange, extent: number): readonly [from: number, to: number] {
  if (change.kind === "resize") return [change.size, Math.max(change.size, extent)];
  return [change.at, change.at + change.bytes.length];
}

function applySector(bytes: GrowingBytes, change: FileChange, start: number): void {
  const end = start + SECTOR_BYTES;
  if (change.kind === "resize") return bytes.clear(Math.max(start, change.size), end);
  const from = Math.max(start, change.at);
  bytes.write(from, change.bytes.subarray(from - change.at, Math.min(end - change.at, change.bytes.length)));
}

/** What a power cut leaves of a node and everything below it. */
export function surviveNode<T extends Node>(node: T, chance: Chance, done: Map<Node, Node>): T;
export function surviveNode(node: Node, chance: Chance, done: Map<Node, Node>): Node {
  const known = done.get(node);
  if (known !== undefined) return known;
  if (node instanceof FileNode) {
    const after = new FileNode();
    after.safe = node.safe.clone();
    after.broken = [...node.broken];
    const fate = node.pending.length === 0 ? 0 : chance.below(3);
    if (fate === 1) tear(after.safe, node.pending, chance);
    if (fate === 2) { for (const change of node.pending) applyChange(after.safe, change); }
    after.seen = after.safe.clone();
    done.set(node, after);
    return after;
  }
  const after = new DirectoryNode();
  done.set(node, after);
  const names = new Map(node.safe);
  const happened = chance.below(node.pending.length + 1);
  for (const change of node.pending.slice(0, happened)) applyName(names, change);
  for (const [name, below] of names) after.putSafe(name, surviveNode(below, chance, done));
  return after;
}

/** The same node with the same changes outstanding. */
export function cloneNode<T extends Node>(node: T, done: Map<Node, Node>): T;
export function cloneNode(node: Node, done: Map<Node, Node>): Node {
  const known = done.get(node);
  if (known !== undefined) return known;
  if (node instanceof FileNode) {
    const clone = new FileNode();
    clone.seen = node.seen.clone();
    clone.safe = node.safe.clone();
    clone.pending = [...node.pending];
    clone.broken = [...node.broken];
    done.set(node, clone);
    return clone;
  }
  const clone = new DirectoryNode();
  done.set(node, clone);
  for (const [name, below] of node.entries) clone.entries.set(name, cloneNode(below, done));
  for (const [name, below] of node.safe) clone.safe.set(name, cloneNode(below, done));
  for (const change of node.pending) {
    clone.pending.push(change.kind === "remove" ? change : { ...change, node: cloneNode(change.node, done) });
  }
  return clone;
}

/** Makes everything that is seen safe, for a node and everything below it. */
export function settleNode(node: Node): void {
  node.makeSafe(node.pending.length);
  if (node instanceof FileNode) return;
  for (const below of node.entries.values()) settleNode(below);
}

/** Bytes of all files below a directory, as they are seen. */
export function bytesIn(directory: DirectoryNode): number {
  let bytes = 0;
  for (const node of directory.entries.values()) bytes += node instanceof FileNode ? node.seen.size : bytesIn(node);
  return bytes;
}
