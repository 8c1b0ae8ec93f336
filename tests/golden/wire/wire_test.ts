/**
 * Plays every golden wire scenario against the real broker; any drift of its answers fails here.
 */
import assert from "node:assert/strict";
import { Broker } from "../../support/broker.ts";
import { playScenario, readScenarioFile, scenarioFiles } from "./scenario.ts";

Deno.test("golden wire scenarios have names of their own", () => {
  const names = scenarioFiles().flatMap((name) => readScenarioFile(name).scenarios.map((scenario) => scenario.name));
  assert.deepEqual(names.filter((name, index) => names.indexOf(name) !== index), []);
});

for (const name of scenarioFiles()) {
  Deno.test(`golden wire scenarios of ${name}`, async (test) => {
    const file = readScenarioFile(name);
    await using broker = await Broker.start({
      flags: file.flags ?? [],
      ...(file.config === undefined ? {} : { config: file.config }),
    });
    for (const [index, scenario] of file.scenarios.entries()) {
      const prefix = `s${String(index).padStart(3, "0")}`;
      await test.step(scenario.name, () => playScenario(scenario, broker.tcp, prefix));
    }
  });
}
