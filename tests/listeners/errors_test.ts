import assert from "node:assert/strict";
import * as Runtime from "effect/Runtime";
import { ListenError } from "../../src/listeners/errors.ts";

Deno.test("ListenError names the listener, its flag and the exit code of an unavailable service", () => {
  const address = { hostname: "127.0.0.1", port: 1883, cause: new Deno.errors.AddrInUse("raw") };
  for (const [listener, name, flag] of [["tcp", "TCP", "--bind"], ["websocket", "WebSocket", "--ws-bind"]] as const) {
    const error = new ListenError({ listener, ...address });
    assert.equal(
      error.message,
      `Cannot listen for MQTT over ${name} on 127.0.0.1:1883: the address is in use; ` +
        `stop the other process or choose another with ${flag}`,
    );
    assert.equal(error.reason, "address_in_use");
    assert.equal(Runtime.getErrorExitCode(error), 69);
  }
});
