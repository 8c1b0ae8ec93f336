/**
 * From a Topic Name to the rules whose topic filters match it: a tree with one node per level of the filters.
 *
 * It is built once per audience and shared by all clients, because placeholders are not replaced in it: `%u` and `%c`
 * are branches of their own, taken when the level is the client's own name. The cost of a look-up depends on the
 * branches that match and not on the number of rules.
 */
import { CLIENT_PLACEHOLDER, type PlaceholderValues, USER_PLACEHOLDER } from "./acl_placeholders.ts";

interface IndexNode<T> {
  literals: Map<string, IndexNode<T>> | undefined;
  plus: IndexNode<T> | undefined;
  user: IndexNode<T> | undefined;
  client: IndexNode<T> | undefined;
  /** Of filters that end here. */
  ends: T[];
  /** Of filters that go on with `#`; they match the name that ends here, too. */
  below: T[];
}

/** Topic filters with placeholders, each with a value. */
export class FilterIndex<T> {
  readonly #root: IndexNode<T> = createNode();

  /** @param filter Valid, with placeholders for whole levels only; its depth is that of the recursion in `collect`. */
  add(filter: string, value: T): void {
    let node = this.#root;
    for (const level of filter.split("/")) {
      if (level === "#") {
        node.below.push(value);
        return;
      }
      node = childOf(node, level);
    }
    node.ends.push(value);
  }

  /** Appends the values of all filters that match, in no order; a value once per filter. */
  collect(name: string, values: PlaceholderValues, into: T[]): void {
    const root = this.#root;
    // Wildcards at the first level never match names that start with `$`. [MQTT-4.7.2-1]
    const isHidden = name.startsWith("$");
    if (!isHidden) append(into, root.below);
    const slash = name.indexOf("/");
    const end = slash === -1 ? name.length : slash;
    descend(root, name, 0, end, values, into, isHidden);
  }
}

/** Takes every branch of a node that matches one level of the name. */
function descend<T>(
  node: IndexNode<T>,
  name: string,
  start: number,
  end: number,
  values: PlaceholderValues,
  into: T[],
  isHidden: boolean,
): void {
  const level = name.slice(start, end);
  if (node.plus !== undefined && !isHidden) visit(node.plus, name, end, values, into);
  if (node.user !== undefined && level === values.userLevel) visit(node.user, name, end, values, into);
  if (node.client !== undefined && level === values.clientLevel) visit(node.client, name, end, values, into);
  const literal = node.literals?.get(level);
  if (literal !== undefined) visit(literal, name, end, values, into);
}

/** @param at Where the level of this node ends in the name. */
function visit<T>(node: IndexNode<T>, name: string, at: number, values: PlaceholderValues, into: T[]): void {
  append(into, node.below);
  if (at === name.length) {
    append(into, node.ends);
    return;
  }
  const slash = name.indexOf("/", at + 1);
  descend(node, name, at + 1, slash === -1 ? name.length : slash, values, into, false);
}

function append<T>(into: T[], values: readonly T[]): void {
  for (const value of values) into.push(value);
}

function childOf<T>(node: IndexNode<T>, level: string): IndexNode<T> {
  if (level === "+") return node.plus ??= createNode();
  if (level === USER_PLACEHOLDER) return node.user ??= createNode();
  if (level === CLIENT_PLACEHOLDER) return node.client ??= createNode();
  const literals = node.literals ??= new Map();
  let child = literals.get(level);
  if (child === undefined) {
    child = createNode<T>();
    literals.set(level, child);
  }
  return child;
}

function createNode<T>(): IndexNode<T> {
  return { literals: undefined, plus: undefined, user: undefined, client: undefined, ends: [], below: [] };
}
