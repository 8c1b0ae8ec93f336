import * as assert from "node:assert/strict";
import * as fc from "fast-check";
import { hasWildcard } from "../../src/topics/topic_rules.ts";
import { WildcardTree } from "../../src/topics/wildcard_tree.ts";
import { matchesNaively, topicFilter, topicName } from "./topic_model.ts";

function collected(tree: WildcardTree<string>, name: string): string[] {
  const values: string[] = [];
  tree.collect(name, values);
  return values.sort();
}

Deno.test("WildcardTree collects every filter that matches, once", () => {
  const tree = new WildcardTree<string>();
  for (const filter of ["#", "+", "a/#", "a/+", "+/+", "a/+/#", "+/b/#", "b/#"]) tree.set(filter, filter);
  assert.deepEqual(collected(tree, "a/b"), ["#", "+/+", "+/b/#", "a/#", "a/+", "a/+/#"].sort());
  assert.deepEqual(collected(tree, "a"), ["#", "+", "a/#"].sort());
  assert.deepEqual(collected(tree, "/"), ["#", "+/+"].sort());
});

Deno.test("WildcardTree keeps first-level wildcards away from `$` names [MQTT-4.7.2-1]", () => {
  const tree = new WildcardTree<string>();
  for (const filter of ["#", "+/#", "+/x", "$SYS/#", "$SYS/+"]) tree.set(filter, filter);
  assert.deepEqual(collected(tree, "$SYS/x"), ["$SYS/#", "$SYS/+"].sort());
});

Deno.test("WildcardTree is empty again, nodes included, when all filters are deleted in any order", () => {
  const filters = fc.uniqueArray(topicFilter.filter(hasWildcard), { maxLength: 12 });
  fc.assert(fc.property(filters, fc.infiniteStream(fc.nat()), (all, choices) => {
    const tree = new WildcardTree<string>();
    for (const filter of all) tree.set(filter, filter);
    const left = [...all];
    while (left.length > 0) {
      assert.equal(tree.isEmpty, false);
      const [gone] = left.splice(choices.next().value % left.length, 1);
      tree.delete(gone!);
    }
    assert.equal(tree.isEmpty, true);
  }));
});

Deno.test("WildcardTree.delete of a filter that was never set changes nothing", () => {
  const tree = new WildcardTree<string>();
  tree.set("a/+/#", "kept");
  for (const filter of ["a/+", "a/#", "a/+/b/#", "#", "b/+"]) tree.delete(filter);
  assert.deepEqual(collected(tree, "a/b"), ["kept"]);
});

Deno.test("WildcardTree visits each node once: 8192 filters of + and a on a name of 13 levels", () => {
  const tree = new WildcardTree<string>();
  for (let mask = 1; mask < 8192; mask++) {
    const filter = Array.from({ length: 13 }, (_, level) => (mask >> level) & 1 ? "+" : "a").join("/");
    tree.set(filter, filter);
  }
  assert.equal(new Set(collected(tree, "a/".repeat(12) + "a")).size, 8191);
});

Deno.test("WildcardTree agrees with matching level by level, after any sets and deletes", () => {
  const change = fc.tuple(fc.boolean(), topicFilter.filter(hasWildcard));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), fc.array(topicName, { maxLength: 8 }), (changes, names) => {
      const tree = new WildcardTree<string>();
      const model = new Set<string>();
      for (const [isSet, filter] of changes) {
        if (isSet) {
          tree.set(filter, filter);
          model.add(filter);
        } else {
          tree.delete(filter);
          model.delete(filter);
        }
      }
      for (const name of names) {
        assert.deepEqual(collected(tree, name), [...model].filter((filter) => matchesNaively(filter, name)).sort());
      }
    }),
    { numRuns: 300 },
  );
});
