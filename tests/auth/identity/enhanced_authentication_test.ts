/**
 * The state machine of one authentication exchange, by itself.
 */
import assert from "node:assert/strict";
import { AuthenticationExchange, type ExchangeStep } from "../../../src/auth/identity/enhanced_authentication.ts";
import { named } from "../../../src/auth/identity/identity.ts";

const MORE: ExchangeStep = { kind: "continue", data: Uint8Array.of(1) };
const DONE: ExchangeStep = { kind: "success", data: undefined, identity: named("u") };
const FAILED: ExchangeStep = { kind: "failure", reasonCode: 0x87, reason: "no" };

function exchangeOf(...steps: (ExchangeStep | Promise<ExchangeStep>)[]) {
  const heard: ExchangeStep[] = [];
  const given: (Uint8Array | undefined)[] = [];
  const exchange = new AuthenticationExchange({
    method: "M",
    begin: (clientId) => {
      assert.equal(clientId, "c");
      return {
        next: (data) => {
          given.push(data);
          return steps.shift()!;
        },
      };
    },
  }, "c");
  return { exchange, heard, given, hear: (step: ExchangeStep) => void heard.push(step) };
}

Deno.test("exchange waits for an answer after each continue and is over after success", () => {
  const { exchange, heard, given, hear } = exchangeOf(MORE, DONE);
  assert.deepEqual([exchange.isRunning, exchange.isWaiting], [false, false]);
  exchange.start(undefined, hear);
  assert.deepEqual([exchange.isRunning, exchange.isWaiting], [true, true]);
  exchange.answer(Uint8Array.of(7), hear);
  assert.deepEqual([exchange.isRunning, exchange.isWaiting], [false, false]);
  assert.deepEqual(heard, [MORE, DONE]);
  assert.deepEqual(given, [undefined, Uint8Array.of(7)]);
});

Deno.test("exchange is over after failure and can start again", () => {
  const { exchange, heard, hear } = exchangeOf(FAILED, DONE);
  exchange.start(undefined, hear);
  assert.equal(exchange.isRunning, false);
  exchange.start(undefined, hear);
  assert.deepEqual(heard, [FAILED, DONE]);
});

Deno.test("exchange waits for nobody while a step is being computed", async () => {
  const { promise, resolve } = Promise.withResolvers<ExchangeStep>();
  const { exchange, heard, hear } = exchangeOf(promise);
  exchange.start(undefined, hear);
  assert.deepEqual([exchange.isRunning, exchange.isWaiting], [true, false]);
  resolve(MORE);
  await promise;
  assert.deepEqual(heard, [MORE]);
  assert.equal(exchange.isWaiting, true);
});
