/** Clients that are gone before anybody accepts them. */
import assert from "node:assert/strict";
import type { Endpoint } from "./raw_client.ts";
import { findTool } from "./tools.ts";

/** What `resetPeers` needs. */
export const PYTHON = findTool("python3");

/**
 * Connects and resets at once, so many times. Nothing else runs in this process meanwhile, so a listener of this process
 * finds all of them in its queue, dead.
 */
export function resetPeers({ hostname, port }: Endpoint, count: number): void {
  const args = ["-c", SCRIPT, hostname, String(port), String(count)];
  const { success, stderr } = new Deno.Command(PYTHON.path!, { args, stdin: "null", stdout: "null" }).outputSync();
  assert.ok(success, new TextDecoder().decode(stderr));
}

const SCRIPT = `
import socket, struct, sys
for _ in range(int(sys.argv[3])):
    peer = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
`;
