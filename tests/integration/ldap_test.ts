/**
 * A real directory as identity provider: OpenLDAP's slapd, asked by direct bind and by search and bind, in the clear
 * and over TLS, with names that try to be more than names, and after it has gone.
 */
import assert from "node:assert/strict";
import type { IdentityProvider } from "../../src/auth/identity/identity.ts";
import { Ldap } from "../../src/auth/ldap/ldap.ts";
import type { LdapSettings } from "../../src/auth/ldap/ldap_settings.ts";
import { ask, NOTICE_MS, openRig, type Rig, temporaryDirectory } from "../auth/backend_rig.ts";
import {
  makeServerCertificate,
  OPENSSL,
  type RunningSlapd,
  SERVICE_DN,
  SERVICE_PASSWORD,
  SLAPD,
  startSlapd,
} from "../support/slapd.ts";
import { testWithTools } from "../support/tools.ts";

const PEOPLE = "ou=people,dc=example,dc=org";
const GROUPS = "ou=groups,dc=example,dc=org";
const UNAVAILABLE = "refuse 0x88 ldap_unavailable";
const BAD_PASSWORD = "refuse 0x86 bad_password";

/** What a test changes of the settings. */
type Changes = Partial<LdapSettings>;

/** One directory, one directory for files, and providers that are closed with them. */
interface World extends AsyncDisposable {
  readonly slapd: RunningSlapd;
  readonly path: (name: string) => string;
  open(changes: Changes): Promise<Rig<IdentityProvider>>;
  /** Settings that search with the service account. */
  readonly searching: Changes;
}

async function openWorld(security: "plain" | "tls", names?: string): Promise<World> {
  const stack = new AsyncDisposableStack();
  const files = stack.use(await temporaryDirectory());
  const path = (name: string) => `${files.path}/${name}`;
  const certificate = security === "plain" ? undefined : await makeServerCertificate(files.path, names);
  const slapd = stack.use(await startSlapd(certificate));
  await Deno.writeTextFile(path("password"), `${SERVICE_PASSWORD}\n`);
  const defaults: LdapSettings = {
    url: `ldap://127.0.0.1:${slapd.port}`,
    startTls: false,
    searchFilter: "(&(objectClass=inetOrgPerson)(uid={username}))",
    groupFilter: "(member={dn})",
    groupAttribute: "cn",
    timeoutMs: 20_000,
    connections: 4,
  };
  return {
    slapd,
    path,
    open: async (changes) => stack.use(await openRig(Ldap, Ldap.layer({ ...defaults, ...changes }))),
    searching: { searchBase: PEOPLE, bindDn: SERVICE_DN, bindPasswordFile: path("password") },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const DIRECT: Changes = { userDn: `uid={username},${PEOPLE}` };

/** Names as they are typed, passwords, and what becomes of them directly and by search. */
const LOGINS: readonly (readonly [username: string, password: string, direct: string, search: string])[] = [
  ["alice", "wonderland", "accept alice", "accept alice"],
  ["alice", "Wonderland", BAD_PASSWORD, BAD_PASSWORD],
  ["alice", "", BAD_PASSWORD, BAD_PASSWORD],
  ["nobody", "wonderland", BAD_PASSWORD, "pass"],
  ["nopass", "wonderland", BAD_PASSWORD, BAD_PASSWORD],
  ["zürich", "alps", "accept zürich", "accept zürich"],
  ["a*(b)\\c,d+e=f#", "oddly", "accept a*(b)\\c,d+e=f#", "accept a*(b)\\c,d+e=f#"],
  // Spelled otherwise, the directory takes it for the same one; the identity has the directory's spelling.
  ["ALICE", "wonderland", "accept alice", "accept alice"],
  [" alice ", "wonderland", "accept alice", "accept alice"],
  ["ZU\u0308RICH", "alps", "accept zürich", "accept zürich"],
  // Attacks.
  ["*", "wonderland", BAD_PASSWORD, "pass"],
  ["alic*", "wonderland", BAD_PASSWORD, "pass"],
  ["alice)(uid=*", "wonderland", BAD_PASSWORD, "pass"],
  ["*)(uid=alice", "wonderland", BAD_PASSWORD, "pass"],
  ["alice))(|(uid=*", "wonderland", BAD_PASSWORD, "pass"],
  ["x)(|(uid=alice)", "wonderland", BAD_PASSWORD, "pass"],
  ["\\61lice", "wonderland", BAD_PASSWORD, "pass"],
  ["alice\\", "wonderland", BAD_PASSWORD, "pass"],
  ["alice,ou=people", "wonderland", BAD_PASSWORD, "pass"],
  [`alice,${PEOPLE}#`, "wonderland", BAD_PASSWORD, "pass"],
  ["alice+cn=Alice", "wonderland", BAD_PASSWORD, "pass"],
  ["#0405616c696365", "wonderland", BAD_PASSWORD, "pass"],
  ["{dn}", "wonderland", BAD_PASSWORD, "pass"],
  ["{username}", "wonderland", BAD_PASSWORD, "pass"],
  [SERVICE_DN, SERVICE_PASSWORD, BAD_PASSWORD, "pass"],
];

testWithTools(
  "a directory decides about names and passwords, plain and hostile, in both ways to ask",
  [SLAPD],
  async () => {
    await using world = await openWorld("plain");
    const direct = await world.open(DIRECT);
    const search = await world.open(world.searching);
    for (const [username, password, directly, searched] of LOGINS) {
      assert.equal(await ask(direct, username, password), directly, `directly: ${username}`);
      assert.equal(await ask(search, username, password), searched, `by search: ${username}`);
    }
    assert.deepEqual([...direct.log, ...search.log], []);
  },
);

testWithTools("a directory gives the groups of a client, asked by the service account", [SLAPD], async () => {
  await using world = await openWorld("plain");
  const service = { bindDn: SERVICE_DN, bindPasswordFile: world.path("password") };
  for (const changes of [world.searching, { ...DIRECT, ...service }]) {
    const rig = await world.open({ ...changes, groupBase: GROUPS });
    assert.equal(await ask(rig, "alice", "wonderland"), "accept alice [admins operators root]");
    assert.equal(await ask(rig, "bob", "builder"), "accept bob [operators]");
    assert.equal(await ask(rig, "a*(b)\\c,d+e=f#", "oddly"), "accept a*(b)\\c,d+e=f# [admins root]");
    assert.equal(await ask(rig, "zürich", "alps"), "accept zürich");
    assert.equal(await ask(rig, "alice", "x"), BAD_PASSWORD);
  }
});

testWithTools(
  "groups that cannot be read refuse the client, because a rule may forbid them something",
  [SLAPD],
  async () => {
    await using world = await openWorld("plain");
    const rig = await world.open({ ...DIRECT, groupBase: GROUPS });
    assert.equal(await ask(rig, "alice", "wonderland"), UNAVAILABLE);
    assert.deepEqual(rig.log.map((line) => line.fields!["error"]), [
      "ldap is unavailable: cannot search for groups: result code 32",
    ]);
  },
);

testWithTools("a name that fits two entries is refused, also with the password of one", [SLAPD], async () => {
  await using world = await openWorld("plain");
  const rig = await world.open({ ...world.searching, searchFilter: "(mail={username})" });
  assert.equal(await ask(rig, "shared@example.org", "wonderland"), "refuse 0x87 ldap_ambiguous");
  assert.equal(await ask(rig, "other@example.org", "wonderland"), "pass");
});

testWithTools(
  "a name that the directory takes for an entry and that is none of its names is refused",
  [SLAPD],
  async () => {
    await using world = await openWorld("plain");
    const rig = await world.open({
      ...world.searching,
      searchFilter: "(telephoneNumber={username})",
    });
    assert.equal(await ask(rig, "+1 234", "wonderland"), "accept +1 234");
    assert.equal(await ask(rig, "+1-2-3-4", "wonderland"), "refuse 0x86 username_mismatch");
  },
);

testWithTools("names that the service account may look for and not read close the door", [SLAPD], async () => {
  await using world = await openWorld("plain");
  const rig = await world.open({
    ...world.searching,
    searchFilter: "(employeeNumber={username})",
  });
  assert.equal(await ask(rig, "7", "wonderland"), UNAVAILABLE);
  assert.match(String(rig.log[0]!.fields!["error"]), /employeenumber of entries cannot be read/);
});

testWithTools(
  "a wrong password of the service account closes the door, until its file has the right one",
  [SLAPD],
  async () => {
    await using world = await openWorld("plain");
    await Deno.writeTextFile(world.path("password"), "wrong-one\n");
    const rig = await world.open(world.searching);
    assert.equal(await ask(rig, "alice", "wonderland"), UNAVAILABLE);
    assert(!JSON.stringify(rig.log).includes("wrong-one"));
    await Deno.writeTextFile(world.path("password"), SERVICE_PASSWORD);
    await rig.adjust(NOTICE_MS);
    assert.equal(await ask(rig, "alice", "wonderland"), "accept alice");
    await Deno.writeTextFile(world.path("password"), "");
    await rig.adjust(NOTICE_MS);
    assert.equal(await ask(rig, "alice", "wonderland"), "accept alice");
    assert.equal(rig.log.at(-1)!.message, "changed file refused, the old content stays in force");
  },
);

testWithTools("nobody in particular may not search this directory, which closes the door", [SLAPD], async () => {
  await using world = await openWorld("plain");
  const rig = await world.open({ searchBase: PEOPLE });
  assert.equal(await ask(rig, "alice", "wonderland"), UNAVAILABLE);
});

testWithTools("StartTLS and ldaps:// verify the directory by the given authority", [SLAPD, OPENSSL], async () => {
  await using world = await openWorld("tls");
  const caFile = world.path("ca.pem");
  const ldaps = { url: `ldaps://localhost:${world.slapd.tlsPort}` };
  for (const tls of [{ startTls: true }, ldaps]) {
    const trusted = await world.open({ ...world.searching, ...tls, caFile });
    assert.equal(await ask(trusted, "alice", "wonderland"), "accept alice");
    assert.equal(await ask(trusted, "alice", "x"), BAD_PASSWORD);
    const untrusted = await world.open({ ...world.searching, ...tls });
    assert.equal(await ask(untrusted, "alice", "wonderland"), UNAVAILABLE);
    assert.match(String(untrusted.log[0]!.fields!["error"]), /cannot connect: invalid peer certificate/);
  }
});

testWithTools("a certificate for another name is not the directory's", [SLAPD, OPENSSL], async () => {
  await using world = await openWorld("tls", "DNS:ldap.example.org");
  const caFile = world.path("ca.pem");
  for (const tls of [{ startTls: true }, { url: `ldaps://127.0.0.1:${world.slapd.tlsPort}` }]) {
    const rig = await world.open({ ...DIRECT, ...tls, caFile });
    assert.equal(await ask(rig, "alice", "wonderland"), UNAVAILABLE);
    assert.match(String(rig.log[0]!.fields!["error"]), /cannot connect: invalid peer certificate/);
  }
});

testWithTools("StartTLS is not done without where the directory cannot do it", [SLAPD], async () => {
  await using world = await openWorld("plain");
  const rig = await world.open({ ...DIRECT, startTls: true });
  assert.equal(await ask(rig, "alice", "wonderland"), UNAVAILABLE);
  assert.match(String(rig.log[0]!.fields!["error"]), /cannot connect: StartTLS was refused/);
});

testWithTools("an authority that is put into the file later is trusted from then on", [SLAPD, OPENSSL], async () => {
  await using world = await openWorld("tls");
  const caFile = world.path("trusted.pem");
  await using elsewhere = await temporaryDirectory();
  const other = await makeServerCertificate(elsewhere.path);
  await Deno.copyFile(other.caFile, caFile);
  const rig = await world.open({ ...world.searching, startTls: true, caFile });
  assert.equal(await ask(rig, "alice", "wonderland"), UNAVAILABLE);
  await Deno.copyFile(world.path("ca.pem"), caFile);
  await rig.adjust(NOTICE_MS);
  assert.equal(await ask(rig, "alice", "wonderland"), "accept alice");
});

testWithTools("a directory that is gone opens no door", [SLAPD], async () => {
  await using world = await openWorld("plain");
  const providers = [await world.open(DIRECT), await world.open(world.searching)];
  for (const rig of providers) assert.equal(await ask(rig, "alice", "wonderland"), "accept alice");
  await world.slapd.stop();
  for (const rig of providers) {
    assert.equal(await ask(rig, "alice", "wonderland"), UNAVAILABLE);
    assert.equal(await ask(rig, "nobody", "wonderland"), UNAVAILABLE);
    assert(!JSON.stringify(rig.log).includes("wonderland"));
  }
});

testWithTools("many clients at once are all answered over a few connections", [SLAPD], async () => {
  await using world = await openWorld("plain");
  const rig = await world.open({ ...world.searching, groupBase: GROUPS });
  const verdicts = await Promise.all(
    Array.from({ length: 100 }, (_, i) => ask(rig, i % 2 === 0 ? "alice" : "bob", "builder")),
  );
  assert.deepEqual(new Set(verdicts.filter((_, i) => i % 2 === 0)), new Set([BAD_PASSWORD]));
  assert.deepEqual(new Set(verdicts.filter((_, i) => i % 2 === 1)), new Set(["accept bob [operators]"]));
});
