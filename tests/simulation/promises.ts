/**
 * Holds every acknowledgement against the disk at the moment it is handed to the network: are the records it rests on as
 * safe as the sync mode promises? The disk itself is asked, not the store.
 */
import assert from "node:assert/strict";
import type { CommitPolicy } from "../../src/storage/log/group_commit.ts";
import type { SessionChange } from "../../src/storage/model/stored.ts";
import type { Received } from "../broker/packet_text.ts";
import type { SimulatedClient } from "./client.ts";
import { VOLATILE_FROM } from "./ledger.ts";
import type { Machine } from "./machine.ts";

/** What an acknowledgement promises. */
export type Promised =
  /** Nothing that was acknowledged is lost with the power. */
  | { readonly kind: "synced" }
  /** At most so many records are. */
  | { readonly kind: "records"; readonly count: number }
  /** Nothing older than this is. */
  | { readonly kind: "age"; readonly ms: number }
  /** Only a killed process loses nothing. */
  | { readonly kind: "written" };

/** What a policy promises. */
export function promiseOf(policy: CommitPolicy): Promised {
  const { syncMode, forceFsync, noSync, batchSyncSize, syncIntervalMs } = policy;
  if (forceFsync) return { kind: "synced" };
  if (noSync) return { kind: "written" };
  if (syncMode === "immediate") return { kind: "synced" };
  return syncMode === "batch" ? { kind: "records", count: batchSyncSize } : { kind: "age", ms: syncIntervalMs };
}

/** What holds when one policy took the place of another, and acknowledgements of both may be on their way. */
export function weakerOf(a: Promised, b: Promised): Promised {
  if (a.kind === "synced") return b;
  if (b.kind === "synced") return a;
  if (a.kind === "records" && b.kind === "records") return a.count > b.count ? a : b;
  if (a.kind === "age" && b.kind === "age") return a.ms > b.ms ? a : b;
  return { kind: "written" };
}

/** Checks one packet that the broker hands to the network for a client. */
export function checkPromise(machine: Machine, promised: Promised, client: SimulatedClient, packet: Received): void {
  const told = `${packet.cmd} #${packet.messageId ?? ""} to ${client.traits.clientId}`;
  for (const lsn of recordsBehind(machine, client, packet, told)) {
    checkRecord(machine, promised, lsn, client.link?.delayMs ?? 0, told);
  }
}

function* recordsBehind(machine: Machine, client: SimulatedClient, packet: Received, told: string): Generator<number> {
  const { ledger } = machine;
  const { clientId } = client.traits;
  const session = machine.process.core.sessions.sessions.get(clientId)?.recordNumber ?? 0;
  const changeSince = (sinceLsn: number, accepts: (change: SessionChange) => boolean) => {
    const lsn = ledger.changeSince(sinceLsn, accepts);
    assert(lsn !== undefined, `${told} without a record`);
    return lsn;
  };
  switch (packet.cmd) {
    case "puback":
    case "pubrec": {
      if ((packet.reasonCode ?? 0) >= 0x80) return;
      const sent = client.outgoing.get(packet.messageId!);
      assert(sent !== undefined, `${told} for nothing`);
      const position = ledger.copies.get(sent.publication.payload)?.at(-1);
      assert(position !== undefined, `${told} for a message that was not stored`);
      if (position < VOLATILE_FROM) yield position;
      return;
    }
    case "pubcomp": {
      if (session === 0) return;
      const lsn = ledger.releaseOf(session, packet.messageId!);
      // A power cut may have taken the message and its identifier, where that is allowed; the client goes on all the same.
      const isLost = client.outgoing.get(packet.messageId!)?.publication.isAcknowledged === false ||
        client.session.isAnother;
      assert(lsn !== undefined || isLost, `${told} without a record`);
      if (lsn !== undefined) yield lsn;
      return;
    }
    case "connack":
      if ((packet.reasonCode ?? packet.returnCode ?? 0) !== 0 || session === 0) return;
      yield changeSince(client.connectedSinceLsn, (change) => change.kind === "open" && change.session === session);
      return;
    case "suback":
    case "unsuback": {
      if (session === 0) return;
      const request = client.requests.get(packet.messageId!);
      assert(request !== undefined, `${told} for nothing`);
      if (request.kind === "unsubscribe") {
        const lsn = ledger.changeSince(
          request.sinceLsn,
          (change) => change.kind === "unsubscribe" && change.session === session && change.filter === request.filter,
        );
        if (lsn !== undefined) yield lsn;
        return;
      }
      for (const [index, { filter }] of request.subscriptions.entries()) {
        if (packet.granted![index]! >= 0x80) continue;
        yield changeSince(
          request.sinceLsn,
          (change) =>
            change.kind === "subscribe" && change.session === session && change.subscription.filter === filter,
        );
      }
    }
  }
}

function checkRecord(machine: Machine, promised: Promised, lsn: number, delayMs: number, told: string): void {
  const safe = machine.safeLog;
  if (lsn < safe.endLsn) return;
  assert(promised.kind !== "synced", `${told}: its record at ${lsn} is not synced, only up to ${safe.endLsn}`);
  const written = machine.writtenLog;
  assert(lsn < written.endLsn, `${told}: its record at ${lsn} is not written, only up to ${written.endLsn}`);
  if (promised.kind === "records") {
    let unsafe = 0;
    for (const block of written.blocks) if (block.lsn >= safe.endLsn && block.lsn <= lsn) unsafe += block.records;
    assert(unsafe <= promised.count, `${told}: ${unsafe} records are not synced, ${promised.count} may be`);
  } else if (promised.kind === "age") {
    const ageMs = machine.nowMs - (machine.ledger.writtenMs(safe.endLsn) ?? machine.nowMs);
    // What the network is slow to take was promised in time.
    assert(
      ageMs - delayMs <= promised.ms,
      `${told}: what is not synced is ${ageMs} ms old, ${promised.ms} are allowed`,
    );
  }
}
