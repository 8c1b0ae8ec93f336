/**
 * The directory as an identity provider, where the directory is the test's own: what it is never asked, what it says
 * wrong, and what happens when it says nothing. A real one is asked in `tests/integration/ldap_test.ts`.
 */
import assert from "node:assert/strict";
import { makeAuthenticator } from "../../../src/auth/identity/authenticator.ts";
import { AuthFileInvalid, BackendSettingsInvalid } from "../../../src/auth/identity/errors.ts";
import { Ldap, LDAP_WAITING_MAX } from "../../../src/auth/ldap/ldap.ts";
import { element, elementLength, numberElement, Tag, textElement } from "../../../src/auth/ldap/ldap_ber.ts";
import { type LdapSettings, planLdap } from "../../../src/auth/ldap/ldap_settings.ts";
import { FileUnreadable } from "../../../src/system/watched_file.ts";
import { EventQueue, within } from "../../support/event_queue.ts";
import {
  ask,
  credentials,
  describeVerdict,
  openRig,
  type RawServer,
  rawServer,
  silent,
  temporaryDirectory,
} from "../backend_rig.ts";

const UNAVAILABLE = "refuse 0x88 ldap_unavailable";

function settings(port: number, changes: Partial<LdapSettings> = {}): LdapSettings {
  return {
    url: `ldap://127.0.0.1:${port}`,
    startTls: false,
    userDn: "uid={username},ou=people",
    searchFilter: "(uid={username})",
    groupFilter: "(member={dn})",
    groupAttribute: "cn",
    timeoutMs: 20_000,
    connections: 2,
    ...changes,
  };
}

/** A request as the test's directory sees it: its number, its tag, all its bytes as hexadecimal. */
interface Request {
  readonly id: number;
  readonly tag: number;
  readonly hex: string;
}

/** A directory that answers each request with the bytes that `answer` returns; nothing = it hangs up. */
function directory(answer: (request: Request) => string | undefined): RawServer & { readonly requests: Request[] } {
  const requests: Request[] = [];
  const server = rawServer(async (conn) => {
    let buffer = new Uint8Array(0);
    const chunk = new Uint8Array(4096);
    for (;;) {
      const size = await conn.read(chunk);
      if (size === null) return;
      buffer = Uint8Array.from([...buffer, ...chunk.subarray(0, size)]);
      for (let length; (length = elementLength(buffer)) !== undefined && length <= buffer.length;) {
        const request = { id: buffer[4]!, tag: buffer[5]!, hex: buffer.subarray(0, length).toHex() };
        buffer = buffer.slice(length);
        if (request.tag === UNBIND) continue;
        requests.push(request);
        const bytes = answer(request);
        if (bytes === undefined) return conn.close();
        await conn.write(Uint8Array.fromHex(bytes));
      }
    }
  });
  return Object.assign(server, { requests });
}

/** A directory that reads and never answers, and tells what it sees: `bytes` once, then `end`. */
function silentServer(): RawServer & { readonly seen: EventQueue<string> } {
  const seen = new EventQueue<string>();
  const server = rawServer(async (conn) => {
    if (await conn.read(new Uint8Array(4096)) !== null) seen.push("bytes");
    await silent(conn);
    seen.push("end");
  });
  return Object.assign(server, { seen });
}

const BIND = 0x60;
const UNBIND = 0x42;
const SEARCH = 0x63;
const EXTENDED = 0x77;

const byte = (value: number) => value.toString(16).padStart(2, "0");
/** A result of operation `tag`. */
const result = (id: number, tag: number, code = 0) => `300c0201${byte(id)}${byte(tag)}070a01${byte(code)}04000400`;
/** An entry that was found, without attributes. */
const entry = (id: number, dn: string) => {
  const found = element(0x64, textElement(Tag.OCTET_STRING, dn), element(Tag.SEQUENCE));
  return element(Tag.SEQUENCE, numberElement(Tag.INTEGER, id), found).toHex();
};
const RESULT_TAG: Readonly<Record<number, number>> = { [BIND]: 0x61, [SEARCH]: 0x65, [EXTENDED]: 0x78 };
/** Everything succeeds and nothing is found. */
const succeed = ({ id, tag }: Request) => result(id, RESULT_TAG[tag]!);

const SEARCHING = { userDn: undefined, searchBase: "ou=people" };

Deno.test("a client without a name or a password is not for the directory, which hears nothing of it", async () => {
  await using server = directory(succeed);
  await using rig = await openRig(Ldap, Ldap.layer(settings(server.port)));
  assert.equal(rig.service.name, "ldap");
  assert.equal(await ask(rig), "pass");
  assert.equal(await ask(rig, "alice"), "pass");
  assert.equal(await ask(rig, undefined, "secret"), "pass");
  assert.equal(await ask(rig, "", "secret"), "pass");
  assert.deepEqual(server.requests, []);
});

for (const changes of [{}, SEARCHING]) {
  const mode = "searchBase" in changes ? "by search" : "directly";
  Deno.test(`an empty password, or one that some would take for empty, never binds ${mode}`, async () => {
    // Such a directory says success to everything, as one does to a bind without password. [RFC 4513, 5.1.2]
    await using server = directory(succeed);
    await using rig = await openRig(Ldap, Ldap.layer(settings(server.port, changes)));
    for (const password of ["", "\0", "\0secret", "secret\0"]) {
      assert.equal(await ask(rig, "alice", password), "refuse 0x86 bad_password");
    }
    assert.deepEqual(server.requests, []);
  });
}

Deno.test("a direct bind sends the escaped name and the password as it is", async () => {
  await using server = directory(succeed);
  await using rig = await openRig(Ldap, Ldap.layer(settings(server.port)));
  const password = Uint8Array.of(0xff, 0xfe, 0x80);
  assert.equal(await ask(rig, "al,ice", password), "accept al,ice");
  const text = Buffer.from(server.requests[0]!.hex, "hex").toString("latin1");
  assert(text.includes("uid=al\\,ice,ou=people\x80\x03\xff\xfe\x80"));
});

for (
  const [code, verdict] of [
    [49, "refuse 0x86 bad_password"],
    [48, "refuse 0x86 bad_password"],
    [32, "refuse 0x86 bad_password"],
    [34, "refuse 0x86 bad_password"],
    [53, "refuse 0x87 ldap_account"],
    [19, "refuse 0x87 ldap_account"],
    [50, "refuse 0x87 ldap_account"],
    [1, UNAVAILABLE],
    [8, UNAVAILABLE],
    [10, UNAVAILABLE],
    [13, UNAVAILABLE],
    [14, UNAVAILABLE],
    [51, UNAVAILABLE],
    [52, UNAVAILABLE],
    [80, UNAVAILABLE],
  ] as const
) {
  Deno.test(`a bind with result code ${code} ends as ${verdict}`, async () => {
    await using server = directory(({ id }) => result(id, 0x61, code));
    await using rig = await openRig(Ldap, Ldap.layer(settings(server.port)));
    assert.equal(await ask(rig, "alice", "secret"), verdict);
  });
}

/** What a server may say to a bind that is no success. `i` stands for the number of the request. */
const WRONG_ANSWERS: readonly (readonly [title: string, hex: string | undefined, detail: RegExp])[] = [
  ["hangs up", undefined, /closed/],
  ["speaks another protocol", "485454502f312e3120323030204f4b0d0a", /it is no LDAP/],
  ["answers another question", result(9, 0x61), /no question/],
  ["answers with another operation", result(1, 0x65), /another question/],
  ["says it ends the connection", result(0, 0x78, 52), /ended the connection/],
  ["announces a gigabyte", "308440000000", /too long/],
  ["sends a result without code", "30050201016100", /expected/],
  ["sends a length without end", "308002010161", /definite/],
];

for (const [title, hex, detail] of WRONG_ANSWERS) {
  Deno.test(`a directory that ${title} is unavailable`, async () => {
    await using server = directory(() => hex);
    await using rig = await openRig(Ldap, Ldap.layer(settings(server.port)));
    assert.equal(await ask(rig, "alice", "secret"), UNAVAILABLE);
    assert.equal(rig.log.length, 1);
    assert.match(String(rig.log[0]!.fields!["error"]), detail);
  });
}

Deno.test("a directory that never stops answering is left", async () => {
  await using server = rawServer(async (conn) => {
    await conn.read(new Uint8Array(4096));
    const many = Uint8Array.fromHex(entry(1, "uid=alice").repeat(1000));
    for (;;) for (let at = 0; at < many.length;) at += await conn.write(many.subarray(at));
  });
  await using rig = await openRig(Ldap, Ldap.layer(settings(server.port)));
  assert.equal(await ask(rig, "alice", "secret"), UNAVAILABLE);
  assert.match(String(rig.log[0]!.fields!["error"]), /answers to one question are too long/);
});

Deno.test("a directory that never answers is left after the timeout, and the log says so without secrets", async () => {
  await using server = silentServer();
  await using rig = await openRig(Ldap, Ldap.layer(settings(server.port, { timeoutMs: 20 })));
  const asking = ask(rig, "alice", "hunter2");
  await server.seen.next("the bind");
  await rig.adjust(20);
  assert.equal(await asking, UNAVAILABLE);
  assert.equal(await server.seen.next("the end of the connection"), "end");
  const error = "ldap is unavailable: cannot check a password: no answer within 20 ms";
  assert.deepEqual(rig.log, [{ message: "identity backend unavailable", fields: { backend: "ldap", error } }]);
});

Deno.test("a TLS handshake that is never answered is left after the timeout", async () => {
  await using server = silentServer();
  const tls = { url: `ldaps://127.0.0.1:${server.port}`, timeoutMs: 20 };
  await using rig = await openRig(Ldap, Ldap.layer(settings(server.port, tls)));
  const asking = ask(rig, "alice", "secret");
  await server.seen.next("the beginning of TLS");
  await rig.adjust(20);
  assert.equal(await asking, UNAVAILABLE);
  assert.match(String(rig.log[0]!.fields!["error"]), /cannot connect: no answer within 20 ms/);
});

Deno.test("StartTLS that is refused sends nothing in the clear instead", async () => {
  await using server = directory(({ id }) => result(id, 0x78, 2));
  await using rig = await openRig(Ldap, Ldap.layer(settings(server.port, { startTls: true })));
  assert.equal(await ask(rig, "alice", "secret"), UNAVAILABLE);
  assert.deepEqual(server.requests.map((request) => request.tag), [EXTENDED]);
  assert.match(String(rig.log[0]!.fields!["error"]), /StartTLS was refused with result code 2/);
});

Deno.test("bytes behind the answer to StartTLS are not taken for answers within TLS", async () => {
  // Whoever sits between could otherwise put a successful bind there, whole or in part.
  for (const injected of [result(2, 0x61), result(2, 0x61).slice(0, -2), "30"]) {
    await using server = directory(({ id }) => result(id, 0x78) + injected);
    await using rig = await openRig(Ldap, Ldap.layer(settings(server.port, { startTls: true })));
    assert.equal(await ask(rig, "alice", "secret"), UNAVAILABLE);
    assert.deepEqual(server.requests.map((request) => request.tag), [EXTENDED]);
    assert.match(String(rig.log[0]!.fields!["error"]), /data between the answer to StartTLS and TLS/);
  }
});

Deno.test("a directory that hangs up in the middle is not connected to again", async () => {
  let connections = 0;
  await using server = rawServer(async (conn) => {
    connections++;
    await conn.read(new Uint8Array(4096));
    await conn.write(Uint8Array.fromHex(result(1, 0x61)));
    conn.close();
  });
  await using rig = await openRig(Ldap, Ldap.layer(settings(server.port)));
  assert.equal(await ask(rig, "alice", "secret"), UNAVAILABLE);
  assert.equal(connections, 1);
});

Deno.test("a service account that is refused closes the door before the client is asked about", async () => {
  await using files = await temporaryDirectory();
  const bindPasswordFile = `${files.path}/password`;
  await Deno.writeTextFile(bindPasswordFile, "wrong-secret\n");
  await using server = directory(({ id }) => result(id, 0x61, 49));
  const service = { ...SEARCHING, bindDn: "cn=service", bindPasswordFile };
  await using rig = await openRig(Ldap, Ldap.layer(settings(server.port, service)));
  assert.equal(await ask(rig, "alice", "secret"), UNAVAILABLE);
  assert.equal(server.requests.length, 1);
  const error = "ldap is unavailable: cannot bind as the service account: result code 49";
  assert.deepEqual(rig.log.map((line) => line.fields!["error"]), [error]);
});

Deno.test("an entry without a name is not bound as", async () => {
  await using server = directory(({ id, tag }) => tag === SEARCH ? entry(id, "") + result(id, 0x65) : result(id, 0x61));
  await using rig = await openRig(Ldap, Ldap.layer(settings(server.port, SEARCHING)));
  assert.equal(await ask(rig, "alice", "secret"), UNAVAILABLE);
  assert.deepEqual(server.requests.map((request) => request.tag), [SEARCH]);
  assert.match(String(rig.log[0]!.fields!["error"]), /an entry without a name was found/);
});

Deno.test("conversations at once are bounded, more wait, and beyond the line clients are told that it is busy", async () => {
  const arrived = new EventQueue<string>();
  const hold = Promise.withResolvers<void>();
  let atOnce = 0;
  let atOnceMax = 0;
  await using server = rawServer(async (conn) => {
    atOnceMax = Math.max(atOnceMax, ++atOnce);
    await conn.read(new Uint8Array(4096));
    arrived.push("bind");
    await hold.promise;
    atOnce--;
    await conn.write(Uint8Array.fromHex(result(1, 0x61)));
    await silent(conn);
  });
  const dn = "{username}@example.org";
  await using rig = await openRig(Ldap, Ldap.layer(settings(server.port, { userDn: dn, connections: 2 })));
  const asking = Array.from({ length: LDAP_WAITING_MAX + 2 }, (_, i) => ask(rig, `user${i}`, "secret"));
  await arrived.next("the first bind");
  await arrived.next("the second bind");
  assert.equal(await ask(rig, "late", "secret"), "refuse 0x89 ldap_busy");
  hold.resolve();
  const verdicts = await Promise.all(asking);
  assert.deepEqual(verdicts, Array.from(verdicts, (_, i) => `accept user${i}`));
  assert.equal(atOnceMax, 2);
});

Deno.test("a client that waits longer than the timeout for its turn is told that it is busy", async () => {
  const binds = new EventQueue<string>();
  const answers: (() => void)[] = [];
  await using server = rawServer(async (conn) => {
    await conn.read(new Uint8Array(4096));
    const hold = Promise.withResolvers<void>();
    answers.push(hold.resolve);
    binds.push("bind");
    await hold.promise;
    await conn.write(Uint8Array.fromHex(result(1, 0x61)));
    await silent(conn);
  });
  const bounds = { userDn: "{username}@example.org", connections: 1, timeoutMs: 100 };
  await using rig = await openRig(Ldap, Ldap.layer(settings(server.port, bounds)));
  const [first, second, third] = ["first", "second", "third"].map((name) => ask(rig, name, "secret"));
  await binds.next("the bind of the first");
  await rig.adjust(60);
  answers[0]!();
  assert.equal(await first, "accept first");
  await binds.next("the bind of the second");
  await rig.adjust(40);
  assert.equal(await third, "refuse 0x89 ldap_busy");
  await rig.adjust(60);
  assert.equal(await second, UNAVAILABLE);
  assert.equal(answers.length, 2);
  answers[1]!();
});

Deno.test("closing cuts off what is under way and whoever waits; nobody hears of it, not even the log", async () => {
  await using server = silentServer();
  const rig = await openRig(Ldap, Ldap.layer(settings(server.port, { connections: 1 })));
  const heard: string[] = [];
  for (const name of ["first", "second"]) ask(rig, name, "secret").then((verdict) => heard.push(verdict));
  await server.seen.next("the bind");
  await rig[Symbol.asyncDispose]();
  assert.equal(await server.seen.next("the end of the connection"), "end");
  assert.deepEqual([heard, rig.log], [[], []]);
});

Deno.test("closing while TLS begins cuts that off too", async () => {
  await using server = silentServer();
  const rig = await openRig(Ldap, Ldap.layer(settings(server.port, { url: `ldaps://127.0.0.1:${server.port}` })));
  let isAnswered = false;
  ask(rig, "alice", "secret").then(() => isAnswered = true);
  await server.seen.next("the beginning of TLS");
  await within(Promise.resolve(rig[Symbol.asyncDispose]()), "the end of the question");
  assert.deepEqual([isAnswered, rig.log], [false, []]);
});

Deno.test("a client that leaves gives up its place in the line, and one that is asked about is asked about to the end", async () => {
  await using server = silentServer();
  await using rig = await openRig(Ldap, Ldap.layer(settings(server.port, { connections: 1, timeoutMs: 100 })));
  const heard: string[] = [];
  const begin = (name: string) => {
    const client = credentials(name, "secret");
    const { authenticate } = makeAuthenticator(() => "false", [rig.service], [], rig.ask);
    return authenticate(client, (verdict) => heard.push(`${name} ${describeVerdict(verdict)}`));
  };
  const [first, second] = [begin("first"), begin("second")];
  await server.seen.next("the bind of the first");
  first!();
  second!();
  await rig.adjust(100);
  assert.equal(await server.seen.next("the end of the first"), "end");
  assert.deepEqual(heard, ["first refuse 0x88 ldap_unavailable"]);
  const third = ask(rig, "third", "secret");
  assert.equal(await server.seen.next("the bind of the third"), "bytes");
  await rig.adjust(100);
  assert.equal(await third, UNAVAILABLE);
});

Deno.test("settings that make no sense are told all at once", () => {
  assert.deepEqual(
    planLdap(settings(1, {
      url: "ldaps://user@host/base",
      startTls: true,
      userDn: "uid=x",
      bindDn: "cn=service",
      groupBase: "ou=groups",
      groupFilter: "(member=x)",
      groupAttribute: "c n",
      timeoutMs: 0,
      connections: 0,
    })),
    [
      "the address has more than a host and a port",
      "StartTLS is for ldap://, and ldaps:// has TLS already",
      "the template of the Distinguished Name lacks {username}",
      "the group attribute is no attribute name",
      "the group filter lacks {dn} or {username}",
      "a service account needs both its name and a file with its password",
      "the timeout is not above 0",
      "the number of connections is not above 0",
    ],
  );
});

for (
  const [changes, problem] of [
    [{ url: "http://x" }, "the address is not of the form ldap://host:port or ldaps://host:port"],
    [{ url: "ldap://" }, "the address is not of the form ldap://host:port or ldaps://host:port"],
    [{ searchBase: "dc=x" }, /either a template/],
    [{ userDn: undefined }, /either a template/],
    [{ ...SEARCHING, searchFilter: "(uid=" }, "the search filter is wrong: expected ) at character 6"],
    [{ ...SEARCHING, searchFilter: "(uid=x)" }, "the search filter lacks {username}"],
    [{ caFile: "ca.pem" }, /certificates to trust are given/],
  ] as const
) {
  Deno.test(`settings with ${JSON.stringify(changes)} make no sense`, () => {
    const problems = planLdap(settings(1, changes));
    assert(Array.isArray(problems));
    assert.equal(problems.length, 1);
    assert.match(problems[0], typeof problem === "string" ? new RegExp(`^${RegExp.escape(problem)}$`) : problem);
  });
}

Deno.test("the default ports are those of LDAP, and an address in brackets loses them", () => {
  const target = (url: string) => {
    const plan = planLdap(settings(1, { url }));
    assert("target" in plan);
    return plan.target;
  };
  assert.deepEqual(target("ldap://h"), { hostname: "h", port: 389, security: "plain" });
  assert.deepEqual(target("ldaps://[::1]/"), { hostname: "::1", port: 636, security: "tls" });
});

Deno.test("the layer fails with settings or files that cannot be used, and shows no secret", async () => {
  await using files = await temporaryDirectory();
  const path = (name: string) => `${files.path}/${name}`;
  await Deno.writeTextFile(path("two"), "hunter2\nhunter3\n");
  await Deno.writeTextFile(path("empty"), "\n");
  const service = (bindPasswordFile: string) => settings(1, { bindDn: "cn=s", bindPasswordFile });
  const open = (changed: LdapSettings) => openRig(Ldap, Ldap.layer(changed));
  await assert.rejects(open(settings(1, { url: "x" })), BackendSettingsInvalid);
  await assert.rejects(open(service(path("missing"))), FileUnreadable);
  await assert.rejects(
    open(service(path("empty"))),
    (error: unknown) => error instanceof AuthFileInvalid && error.message.endsWith("is empty"),
  );
  await assert.rejects(
    open(service(path("two"))),
    (error: unknown) => error instanceof AuthFileInvalid && !error.message.includes("hunter"),
  );
  await assert.rejects(open(settings(1, { startTls: true, caFile: path("two") })), AuthFileInvalid);
});

Deno.test("a directory elsewhere without TLS is warned of, one on this host is not", async () => {
  await using elsewhere = await openRig(Ldap, Ldap.layer(settings(1, { url: "ldap://192.0.2.7" })));
  assert.deepEqual(elsewhere.log.map((line) => line.message), ["credentials go to the backend in the clear"]);
  await using here = await openRig(Ldap, Ldap.layer(settings(1)));
  assert.deepEqual(here.log, []);
});
