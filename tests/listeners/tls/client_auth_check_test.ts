import * as Effect from "effect/Effect";
import * as Runtime from "effect/Runtime";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, type TlsOptions } from "node:tls";
import { confirmClientAuth } from "../../../src/listeners/tls/client_auth_check.ts";
import { OPENSSL, TestAuthority } from "../../support/certificates.ts";
import { testWithTools } from "../../support/tools.ts";

testWithTools("a broker that would let clients without certificate in does not start", [OPENSSL], async () => {
  await using authority = await TestAuthority.create();
  const { cert, key } = await authority.server();
  const own = {
    cert: readFileSync(cert, "utf8"),
    key: readFileSync(key, "utf8"),
    ca: readFileSync(authority.cert, "utf8"),
  };
  const attempt = async (options: TlsOptions): Promise<unknown> => {
    const server = createServer({ ...own, ...options });
    server.on("secureConnection", (socket) => socket.destroy());
    const outcome = await Effect.runPromise(Effect.flip(confirmClientAuth(server, "door"))).catch(() => "confirmed");
    assert.equal(server.listenerCount("tlsClientError"), 0);
    assert.equal(server.listenerCount("secureConnection"), 1);
    return outcome;
  };
  assert.equal(await attempt({ requestCert: true, rejectUnauthorized: true }), "confirmed");
  for (const options of [{ requestCert: false }, { requestCert: true, rejectUnauthorized: false }]) {
    const error = await attempt(options);
    assert.ok(error instanceof Error);
    assert.equal(error.message, 'Listener "door" requires client certificates, but accepts clients without one');
    assert.equal(Runtime.getErrorExitCode(error), 78);
  }
});
