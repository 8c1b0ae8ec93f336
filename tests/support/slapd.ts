/**
 * A real directory for tests: OpenLDAP's slapd on the loopback interface, with all it has in a temporary directory.
 *
 * The program is copied there first. A system may have a profile that keeps the installed one from files outside of
 * its own directories, and such profiles go by path.
 */
import { EVENT_DEADLINE_MS, within } from "./event_queue.ts";
import { findTool, runTool, type Tool } from "./tools.ts";

/** slapd, which distributions put where only administrators look. */
export const SLAPD: Tool = findSlapd();

/** Makes the certificates of tests. */
export const OPENSSL: Tool = findTool("openssl");

/** A password of the service account below, which tests write to a file. */
export const SERVICE_PASSWORD = "service-Pa55";

/** Distinguished Name of the account that may search. */
export const SERVICE_DN = "cn=service,dc=example,dc=org";

/** PEM files of a certificate authority and of a server that it vouches for. */
export interface ServerCertificate {
  readonly caFile: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** A running directory; disposing of it ends the process and removes its files. */
export interface RunningSlapd extends AsyncDisposable {
  readonly port: number;
  /** For `ldaps://`; 0 without certificate. */
  readonly tlsPort: number;
  /** Ends the process now and keeps the files, for what happens when a directory is gone. */
  stop(): Promise<void>;
}

/** Starts a directory that has the entries of `PEOPLE`; ready when the promise is. */
export async function startSlapd(certificate?: ServerCertificate): Promise<RunningSlapd> {
  const directory = await Deno.makeTempDir({ prefix: "promptmq_slapd_" });
  const program: Tool = { name: "slapd", path: `${directory}/slapd` };
  await Deno.copyFile(SLAPD.path!, program.path!);
  await Deno.chmod(program.path!, 0o700);
  const configFile = `${directory}/slapd.conf`;
  await Deno.mkdir(`${directory}/db`);
  await Deno.writeTextFile(configFile, configuration(directory, certificate));
  const loaded = await runTool(program, ["-T", "add", "-f", configFile], PEOPLE);
  if (loaded.code !== 0) throw new Error(`slapd did not take the entries: ${loaded.stderr}`);
  for (let attempt = 1;; attempt++) {
    const port = freePort();
    const tlsPort = certificate === undefined ? 0 : freePort();
    const urls = [`ldap://127.0.0.1:${port}/`, ...(tlsPort === 0 ? [] : [`ldaps://127.0.0.1:${tlsPort}/`])];
    const process = await launch(program.path!, ["-h", urls.join(" "), "-f", configFile, "-d", "conns"]);
    if (process === undefined && attempt < LAUNCHES_MAX) continue;
    if (process === undefined) throw new Error("slapd did not start");
    return {
      port,
      tlsPort,
      stop: process,
      [Symbol.asyncDispose]: async () => {
        await process();
        await Deno.remove(directory, { recursive: true });
      },
    };
  }
}

/** Makes an authority and a certificate, in `directory`. @param names Subject Alternative Names, as OpenSSL takes them. */
export async function makeServerCertificate(
  directory: string,
  names = "DNS:localhost,IP:127.0.0.1",
): Promise<ServerCertificate> {
  const path = (name: string) => `${directory}/${name}`;
  const openssl = async (...args: string[]) => {
    const result = await runTool(OPENSSL, args);
    if (result.code !== 0) throw new Error(`openssl ${args[0]} failed: ${result.stderr}`);
  };
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const authority = ["-x509", ...newKey, "-days", "2", "-subj", "/CN=Test authority"];
  await openssl("req", ...authority, "-keyout", path("ca.key"), "-out", path("ca.pem"));
  await openssl("req", ...newKey, "-subj", "/CN=localhost", "-keyout", path("server.key"), "-out", path("server.csr"));
  await Deno.writeTextFile(path("server.ext"), `subjectAltName=${names}\n`);
  const signed = ["-req", "-in", path("server.csr"), "-days", "2", "-extfile", path("server.ext")];
  const signer = ["-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-CAcreateserial"];
  await openssl("x509", ...signed, ...signer, "-out", path("server.pem"));
  return { caFile: path("ca.pem"), certificateFile: path("server.pem"), keyFile: path("server.key") };
}

/** Launches until one finds its ports free. */
const LAUNCHES_MAX = 5;

function findSlapd(): Tool {
  const onPath = findTool("slapd");
  if (onPath.path !== undefined) return onPath;
  try {
    Deno.statSync("/usr/sbin/slapd");
    return { name: "slapd", path: "/usr/sbin/slapd" };
  } catch {
    return onPath;
  }
}

/** A port that was free a moment ago; slapd cannot be asked which one it chose. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Starts slapd and waits until it says so; returns how to end it, or undefined when it ended by itself. */
async function launch(path: string, args: readonly string[]): Promise<(() => Promise<void>) | undefined> {
  const child = new Deno.Command(path, { args: [...args], stdin: "null", stdout: "null", stderr: "piped" }).spawn();
  const started = Promise.withResolvers<boolean>();
  const reading = (async () => {
    let text = "";
    for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
      text = (text + chunk).slice(-TEXT_KEPT);
      // It says "slapd starting" before it listens; this is the first that it says when it listens everywhere.
      if (text.includes(": listen=")) started.resolve(true);
    }
    started.resolve(false);
  })();
  const stop = async () => {
    try {
      child.kill("SIGTERM");
    } catch {
      // It has ended already.
    }
    await within(Promise.all([child.status, reading]), "slapd to end", EVENT_DEADLINE_MS);
  };
  if (await within(started.promise, "slapd to start")) return stop;
  await child.status;
  return undefined;
}

const TEXT_KEPT = 4096;

function configuration(directory: string, certificate: ServerCertificate | undefined): string {
  const tls = certificate === undefined ? [] : [
    `TLSCACertificateFile ${certificate.caFile}`,
    `TLSCertificateFile ${certificate.certificateFile}`,
    `TLSCertificateKeyFile ${certificate.keyFile}`,
  ];
  return [
    ...["core", "cosine", "inetorgperson"].map((name) => `include /etc/ldap/schema/${name}.schema`),
    `pidfile ${directory}/slapd.pid`,
    "modulepath /usr/lib/ldap",
    "moduleload back_mdb",
    ...tls,
    "database mdb",
    "suffix dc=example,dc=org",
    `directory ${directory}/db`,
    "maxsize 1048576",
    "access to attrs=userPassword by anonymous auth by * none",
    `access to attrs=employeeNumber by dn.exact="${SERVICE_DN}" search by * none`,
    `access to * by dn.exact="${SERVICE_DN}" read by self read by * none`,
    "",
  ].join("\n");
}

/** Who is in the directory. Two have one address in common, one has a name full of syntax, one has no password. */
const PEOPLE = `dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: ${SERVICE_DN}
objectClass: organizationalRole
objectClass: simpleSecurityObject
userPassword: ${SERVICE_PASSWORD}

dn: uid=alice,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: A
mail: shared@example.org
telephoneNumber: +1 234
employeeNumber: 7
userPassword: wonderland

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: B
mail: shared@example.org
userPassword: builder

dn: uid=a*(b)\\\\c\\,d\\+e\\=f\\#,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: a*(b)\\c,d+e=f#
cn: Odd
sn: O
userPassword: oddly

dn:: dWlkPXrDvHJpY2gsb3U9cGVvcGxlLGRjPWV4YW1wbGUsZGM9b3Jn
objectClass: inetOrgPerson
uid:: esO8cmljaA==
cn: Zurich
sn: Z
userPassword: alps

dn: uid=nopass,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: nopass
cn: Nobody
sn: N

dn: cn=operators,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: operators
member: uid=alice,ou=people,dc=example,dc=org
member: uid=bob,ou=people,dc=example,dc=org

dn: cn=admins,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: admins
cn: root
member: uid=alice,ou=people,dc=example,dc=org
member: uid=a*(b)\\\\c\\,d\\+e\\=f\\#,ou=people,dc=example,dc=org
`;
