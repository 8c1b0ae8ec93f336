import * as assert from "node:assert/strict";
import * as fc from "fast-check";
import { LevelNode } from "../../src/topics/level_node.ts";

class TestNode extends LevelNode<TestNode> {}

Deno.test("LevelNode keeps an only child without a Map, also when it is the last of several", () => {
  const node = new TestNode("");
  const [a, b] = [new TestNode("a"), new TestNode("b")];
  node.addChild(a);
  assert.deepEqual([node.only, node.many], [a, undefined]);
  node.addChild(b);
  assert.deepEqual([node.only, node.many?.size], [undefined, 2]);
  node.removeChild("a");
  assert.deepEqual([node.only, node.many, node.child("a")], [b, undefined, undefined]);
  node.removeChild("a");
  assert.equal(node.child("b"), b);
  node.removeChild("b");
  assert.deepEqual([node.only, node.many, node.hasChildren], [undefined, undefined, false]);
});

Deno.test("LevelNode agrees with a Map of children, and has a Map exactly while there are two or more", () => {
  const texts = ["", "a", "b", "$", "+"];
  const change = fc.tuple(fc.boolean(), fc.constantFrom(...texts));
  fc.assert(fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
    const node = new TestNode("");
    const model = new Map<string, TestNode>();
    for (const [isAdded, text] of changes) {
      if (!isAdded) {
        node.removeChild(text);
        model.delete(text);
      } else if (!model.has(text)) {
        const child = new TestNode(text);
        node.addChild(child);
        model.set(text, child);
      }
      for (const each of texts) assert.equal(node.child(each), model.get(each));
      assert.equal(node.hasChildren, model.size > 0);
      assert.equal(node.only !== undefined, model.size === 1);
      assert.equal(node.many !== undefined, model.size > 1);
    }
  }));
});
