import assert from "node:assert/strict";
import { describeFileFailure, describeListenFailure, listenReason } from "../../src/system/system_failure.ts";

Deno.test("describeListenFailure says where, why and what to do, for every kind of refusal", () => {
  const { AddrInUse, AddrNotAvailable, NotCapable, PermissionDenied } = Deno.errors;
  const cases: readonly (readonly [string, number, unknown, string, string])[] = [
    ["127.0.0.1", 1883, new AddrInUse("raw"), "address_in_use", "the address is in use; stop the other process or"],
    [
      "192.0.2.1",
      1883,
      new AddrNotAvailable("raw"),
      "address_not_available",
      "the address is not available, no network interface of this host has it;",
    ],
    [
      "0.0.0.0",
      1023,
      new PermissionDenied("raw"),
      "permission_denied",
      "permission denied, ports below 1024 need rights; grant them or",
    ],
    ["::", 1024, new PermissionDenied("raw"), "permission_denied", "permission denied;"],
    ["::1", 0, new PermissionDenied("raw"), "permission_denied", "permission denied;"],
    ["no.such", 1, new Error("lookup failed (os error 1): x\nstack"), "other", "lookup failed;"],
  ];
  for (const [hostname, port, cause, reason, why] of cases) {
    assert.equal(listenReason(cause), reason);
    const address = hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
    assert.equal(
      describeListenFailure("listen", { hostname, port }, "--bind", cause),
      `Cannot listen on ${address}: ${why} choose another with --bind`,
    );
  }
  const noRight = new NotCapable("raw");
  assert.equal(listenReason(noRight), "permission_denied");
  assert.equal(
    describeListenFailure("listen", { hostname: "127.0.0.1", port: 80 }, "--bind", noRight),
    "Cannot listen on 127.0.0.1:80: the program may not listen; run it with --allow-net",
  );
});

Deno.test("describeListenFailure recognizes what the system really answers", () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const refusals = [{ ...taken.addr, why: "in use" }, { hostname: "192.0.2.1", port: 0, why: "not available" }];
  for (const { hostname, port, why } of refusals) {
    let cause: unknown;
    try {
      Deno.listen({ hostname, port }).close();
    } catch (error) {
      cause = error;
    }
    assert.match(
      describeListenFailure("listen", { hostname, port }, "--bind", cause),
      new RegExp(`the address is ${why}`),
    );
  }
});

Deno.test("describeFileFailure uses plain words without the name of the file", () => {
  const cases: readonly (readonly [unknown, string])[] = [
    [new Deno.errors.NotFound("raw"), "not found"],
    [new Deno.errors.PermissionDenied("raw"), "permission denied"],
    [new Deno.errors.NotCapable("raw"), "the program may not use files; run it with --allow-read"],
    [new Deno.errors.IsADirectory("raw"), "is a directory"],
    [new Deno.errors.NotADirectory("raw"), "a part of its path is not a directory"],
    [new Error("File name too long (os error 36): readfile '/tmp/x'"), "File name too long"],
    ["odd", "odd"],
  ];
  for (const [cause, expected] of cases) assert.equal(describeFileFailure(cause), expected);
});
