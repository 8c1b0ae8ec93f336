/**
 * Random lives of a broker; what is checked stands in `life.ts`.
 */
import fc from "fast-check";
import { assertAgreement } from "./agreement.ts";
import { Life, step, stepOrKill } from "./life.ts";

Deno.test(
  "a broker keeps its promises through any life: at least once, exactly once, in order, and nothing left behind [MQTT-4.5.0-1] [MQTT-4.1.0-1] [MQTT-4.6.0-6] [MQTT-3.2.0-1]",
  () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 150, size: "max" }), (steps) => {
        const life = new Life();
        life.run(steps);
        life.comeToRest();
        life.checkDeliveries();
        life.checkOrder();
        life.world.leaveNothing();
      }),
      { numRuns: 150 },
    );
  },
);

Deno.test(
  "a broker that is killed again and again keeps the same promises, and its records say at rest what it holds [MQTT-4.5.0-1] [MQTT-4.1.0-1]",
  () => {
    fc.assert(
      fc.property(fc.array(stepOrKill, { minLength: 10, maxLength: 150, size: "max" }), (steps) => {
        const life = new Life();
        life.run(steps);
        life.world.store.isSlow = false;
        life.world.commit();
        assertAgreement(life.world);
        life.comeToRest();
        life.checkDeliveries();
        life.checkOrder();
        life.world.leaveNothing();
      }),
      { numRuns: 150 },
    );
  },
);
