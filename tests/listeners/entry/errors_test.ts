import * as Runtime from "effect/Runtime";
import assert from "node:assert/strict";
import { ListenError } from "../../../src/listeners/entry/errors.ts";

const BIND = { hostname: "127.0.0.1", port: 1883 };

Deno.test("ListenError names the listener, its flag and the exit code of an unavailable service", () => {
  const cause = new Deno.errors.AddrInUse("raw");
  for (
    const [type, name, flag] of [
      ["tcp", "TCP", "--bind"],
      ["ws", "WebSocket", "--ws-bind"],
      ["tls", "TLS", "--tls-bind"],
      ["wss", "WebSocket over TLS", "--wss-bind"],
    ] as const
  ) {
    const error = new ListenError({ entry: { name: type, type, bind: BIND, socketPath: undefined }, cause });
    assert.equal(
      error.message,
      `Cannot listen for MQTT over ${name} on 127.0.0.1:1883: the address is in use; ` +
        `stop the other process or choose another with ${flag}`,
    );
    assert.equal(error.reason, "address_in_use");
    assert.equal(Runtime.getErrorExitCode(error), 69);
  }
});

Deno.test("ListenError of a listener in the list names the entry, and that of a Unix socket its path", () => {
  const cause = new Deno.errors.AddrInUse("raw");
  const listed = new ListenError({ entry: { name: "field", type: "tls", bind: BIND, socketPath: undefined }, cause });
  assert.match(listed.message, /choose another with the bind address of listener "field"$/);
  const denied = new Deno.errors.PermissionDenied("raw");
  const unix = new ListenError({
    entry: { name: "unix", type: "unix", bind: undefined, socketPath: "/run/x.sock" },
    cause: denied,
  });
  assert.equal(unix.message, 'Cannot listen for MQTT over Unix socket on "/run/x.sock": permission denied');
});
