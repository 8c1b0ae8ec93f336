/**
 * The progress bar: one line that fits the terminal, and silence without one.
 */

import assert from "node:assert/strict";
import { ProgressBar, renderProgress } from "../../../src/cli/process/progress_bar.ts";

Deno.test("a progress bar shows a share of its width and stays on one line", () => {
  assert.equal(renderProgress(0.5, "kills 3", 80), "[############............]  50 %  kills 3");
  assert.equal(renderProgress(7, "", 80).trimEnd(), "[########################] 100 %");
  assert.equal(renderProgress(-1, "", 80).trimEnd(), "[........................]   0 %");
  assert.equal(renderProgress(0.5, "x".repeat(200), 40).length, 39);
});

Deno.test("a progress bar writes only what has changed, and only to a terminal", () => {
  for (const isTerminal of [true, false]) {
    const written: string[] = [];
    const bar = new ProgressBar({
      isTerminal: () => isTerminal,
      writeSync: (bytes) => written.push(new TextDecoder().decode(bytes)),
    }, () => 80);
    bar.clear();
    bar.show(0.1, "a");
    bar.show(0.1, "a");
    bar.show(0.1, "b");
    bar.clear();
    assert.equal(written.length, isTerminal ? 3 : 0);
  }
});
