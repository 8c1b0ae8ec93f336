/**
 * Looks whether the Retained Messages are what they must be: on every topic the last acknowledged one, or a later one.
 */

import * as Effect from "effect/Effect";
import { DurableClient } from "./durable_client.ts";
import type { Ledger, SentTopic } from "./ledger.ts";
import { sequenceOf } from "./payload.ts";
import { RETAINED_FILTER } from "./traffic.ts";
import { until } from "./until.ts";

/** Subscribes with a fresh Session, and notes what is missing or older than it must be. */
export function checkRetained(ledger: Ledger, port: number, clientId: string): Effect.Effect<void> {
  return Effect.acquireUseRelease(
    Effect.sync(() => {
      const found = new Map<string, number>();
      const client = new DurableClient(clientId, "until_closed", {
        // What is published meanwhile arrives as well; the first one is the retained one.
        message: (topic, payload) => {
          if (!found.has(topic)) found.set(topic, sequenceOf(payload));
        },
      });
      return { found, client };
    }),
    ({ found, client }) =>
      Effect.gen(function* () {
        client.ensureConnected(port);
        if (!(yield* until(() => client.isOnline, WAIT_MS))) {
          return ledger.fault("stalled", `${clientId} could not connect to look at Retained Messages`);
        }
        const expected = ledger.topics.filter(({ retain, acknowledgedMax }) => retain && acknowledgedMax > 0)
          .map((topic) => ({ topic, least: topic.acknowledgedMax }));
        const subscribed = yield* Effect.exit(Effect.tryPromise(() => client.subscribe(RETAINED_FILTER, 1)));
        if (subscribed._tag === "Failure") {
          return ledger.fault("stalled", `${clientId} could not subscribe to look at Retained Messages`);
        }
        // When another promise is broken the rest is not worth the time.
        const isBroken = () => ledger.faults.size > 0;
        yield* until(() => isBroken() || expected.every(({ topic }) => found.has(topic.name)), WAIT_MS);
        if (isBroken()) return;
        for (const { topic, least } of expected) judge(ledger, topic, least, found.get(topic.name));
      }),
    ({ client }) => Effect.sync(() => client.close()),
  );
}

function judge(ledger: Ledger, topic: SentTopic, least: number, found: number | undefined): void {
  if (found === undefined) {
    ledger.fault("retained_lost", `${topic.name} has no Retained Message, number ${least} was acknowledged`);
  } else if (!(found >= least && found <= topic.sent)) {
    ledger.fault("retained_lost", `${topic.name} retains number ${found}, ${least} was acknowledged`);
  }
}

const WAIT_MS = 10_000;
