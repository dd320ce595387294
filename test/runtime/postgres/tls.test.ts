// Contract: a source's sslMode means what libpq's does, for sessions of the provider, COPY and replication alike; whatever
// of certificates doesn't hold is an error of the kind `tls` with the remedy; off the loopback interface the server's
// certificate and name are checked unless somebody says otherwise; a client certificate and its key are given by file,
// variable or text, and renewed ones are taken at the next connection.
// Invariant 6: no secret leaves the place it was given to.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connection } from "../../../provider/lifecycle/connection";
import { connectSource } from "../../../runtime/postgres/client";
import { defaultSslMode, type SourceConfig, sourceProblems, sourceSchema } from "../../../runtime/source-config";
import { type Certificate, makeCertificate } from "../../support/certificates";
import { until } from "../../support/conditions";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { setTls } from "../../support/tls-server";

let server: TestPostgres;
let folder: string;

const authority = makeCertificate({ subject: "Test Authority", isAuthority: true });
const stranger = makeCertificate({ subject: "Another Authority", isAuthority: true });
const sound = makeCertificate({ subject: "localhost", issuer: authority, names: ["localhost", "db.example"] });
const expired = makeCertificate({ subject: "localhost", issuer: authority, names: ["localhost"], days: -1 });
const selfSigned = makeCertificate({ subject: "localhost", names: ["localhost"] });
const client = makeCertificate({ subject: "ingest", issuer: authority });

beforeAll(async () => {
  server = await startPostgres();
  const admin = await server.client();
  await admin.query("CREATE ROLE ingest LOGIN SUPERUSER");
  await admin.end();
  folder = mkdtempSync(join(tmpdir(), "sluice-tls-"));
});

afterAll(async () => {
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const source = (more: Partial<SourceConfig>): SourceConfig => ({
  ...(sourceSchema.parse({ ...server.source(), host: "localhost" }) as SourceConfig),
  ...more,
});

/** What the session is encrypted by, and whose certificate it has. */
async function session(more: Partial<SourceConfig>): Promise<{ ssl: boolean; name: string | null }> {
  const opened = await connectSource(source(more));
  try {
    const { rows } = await opened.query<{ ssl: boolean; name: string | null }>(
      "SELECT ssl, client_dn AS name FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    );
    return rows[0];
  } finally {
    await opened.end();
  }
}

const failure = (more: Partial<SourceConfig>) =>
  session(more).then(
    () => expect.unreachable("it connected"),
    (error: unknown) => error as { kind: string; message: string; remedy: string },
  );

const ca = { sslRootCert: authority.certificate };

describe("without TLS on the server", () => {
  beforeAll(() => setTls(server, { server: null }));

  it("disable connects, and every other mode says that there is none", async () => {
    expect(await session({ sslMode: "disable" })).toMatchObject({ ssl: false });
    for (const sslMode of ["require", "verify-ca", "verify-full"] as const) {
      expect(await failure({ sslMode })).toMatchObject({
        kind: "tls",
        message: expect.stringContaining("the server has no TLS"),
        remedy: expect.stringMatching(/ALTER SYSTEM SET ssl = on[\s\S]*sslMode: "disable"/),
      });
    }
  });
});

describe("with a certificate by an authority of its own", () => {
  beforeAll(() => setTls(server, { server: sound }));

  it("each mode checks what libpq's does", async () => {
    expect(await session({ sslMode: "disable" })).toMatchObject({ ssl: false });
    expect(await session({ sslMode: "require" })).toMatchObject({ ssl: true });
    expect(await session({ sslMode: "verify-ca", ...ca })).toMatchObject({ ssl: true });
    expect(await session({ sslMode: "verify-full", ...ca })).toMatchObject({ ssl: true });
    const sslRootCertFile = file("ca.pem", `${stranger.certificate}${authority.certificate}`);
    expect(await session({ sslMode: "verify-full", sslRootCertFile })).toMatchObject({ ssl: true });
  });

  it("an authority that isn't known is told with the setting for it", async () => {
    for (const sslMode of ["verify-ca", "verify-full"] as const) {
      for (const more of [{}, { sslRootCert: stranger.certificate }]) {
        expect(await failure({ sslMode, ...more })).toMatchObject({
          kind: "tls",
          remedy: expect.stringMatching(/sslRootCertFile/),
        });
      }
    }
  });

  it("a host name that the certificate hasn't is told, unless sslServerName has it", async () => {
    const byAddress = { host: "127.0.0.1", sslMode: "verify-full", ...ca } as const;
    expect(await failure(byAddress)).toMatchObject({ kind: "tls", remedy: expect.stringMatching(/sslServerName/) });
    expect(await session({ ...byAddress, sslServerName: "db.example" })).toMatchObject({ ssl: true });
    expect(await failure({ ...byAddress, sslServerName: "db.other" })).toMatchObject({ kind: "tls" });
    expect(await session({ ...byAddress, sslMode: "verify-ca" })).toMatchObject({ ssl: true });
  });

  it("a file that isn't there, or isn't a certificate, is told by name", async () => {
    const absent = join(folder, "absent.pem");
    expect(await failure({ sslMode: "verify-full", sslRootCertFile: absent })).toMatchObject({
      kind: "config",
      message: `sslRootCertFile: the file ${absent} can't be read`,
    });
    expect(await failure({ sslMode: "verify-full", sslCert: "PEM?", sslKey: "canary-key" })).toMatchObject({
      kind: "tls",
      message: expect.not.stringContaining("canary-key"),
      remedy: expect.stringMatching(/sslKey is a PEM key/),
    });
  });

  it("a check tells it at its input", async () => {
    const { failures } = await connection.check({}, { ...server.source(), host: "localhost", sslMode: "verify-full" });
    expect(failures).toEqual([{ property: "sslMode", reason: expect.stringMatching(/remedy: Give the authority/) }]);
  });
});

describe("a certificate that doesn't hold", () => {
  it.each<[string, Certificate, RegExp]>([
    ["expired", expired, /Renew the certificate of localhost/],
    ["self-signed", selfSigned, /a self-signed one: itself/],
  ])("%s", async (_, certificate, remedy) => {
    await setTls(server, { server: certificate });
    for (const sslMode of ["verify-ca", "verify-full"] as const) {
      expect(await failure({ sslMode, ...ca })).toMatchObject({ kind: "tls", remedy: expect.stringMatching(remedy) });
    }
    expect(await session({ sslMode: "require" })).toMatchObject({ ssl: true });
  });

  it("a self-signed one is its own authority", async () => {
    await setTls(server, { server: selfSigned });
    expect(await session({ sslMode: "verify-full", sslRootCert: selfSigned.certificate })).toMatchObject({ ssl: true });
  });
});

describe("where the server asks for a client certificate", () => {
  const hba = ["hostssl all ingest 127.0.0.1/32 cert", "hostssl replication ingest 127.0.0.1/32 cert"];
  const asIngest = { user: "ingest", password: undefined, sslMode: "verify-full", ...ca } as const;

  beforeAll(() => setTls(server, { server: sound, clientAuthority: authority, hba }));

  it("it is sent, from files, variables and text", async () => {
    process.env.SLUICE_TEST_CLIENT_KEY = client.key;
    const inFiles = {
      sslCertFile: file("client.pem", client.certificate),
      sslKey: { file: file("key.pem", client.key) },
    };
    for (const given of [
      inFiles,
      { sslCert: client.certificate, sslKey: { env: "SLUICE_TEST_CLIENT_KEY" } },
      { sslCert: client.certificate, sslKey: client.key },
    ]) {
      expect(await session({ ...asIngest, ...given })).toEqual({ ssl: true, name: "/CN=ingest" });
    }
  });

  it("without one, with a stranger's, or without TLS it is told what is asked for", async () => {
    expect(await failure(asIngest)).toMatchObject({
      kind: "authentication",
      remedy: expect.stringMatching(/give sslCertFile and sslKey/),
    });
    const theirs = makeCertificate({ subject: "ingest", issuer: stranger });
    expect(await failure({ ...asIngest, sslCert: theirs.certificate, sslKey: theirs.key })).toMatchObject({
      kind: "tls",
      remedy: expect.stringMatching(/ssl_ca_file/),
    });
    const another = makeCertificate({ subject: "another", issuer: authority });
    expect(await failure({ ...asIngest, sslCert: another.certificate, sslKey: another.key })).toMatchObject({
      kind: "authentication",
      remedy: expect.stringMatching(/with the user as its common name/),
    });
    expect(await failure({ ...asIngest, sslMode: "disable" })).toMatchObject({
      kind: "authentication",
      remedy: expect.stringMatching(/sslMode: "verify-full"/),
    });
  });
});

describe("a gateway", () => {
  it("copies and streams under TLS with a client certificate, and takes a renewed one at its next connection", async () => {
    const hba = ["hostssl all ingest 127.0.0.1/32 cert", "hostssl replication ingest 127.0.0.1/32 cert"];
    await setTls(server, { server: sound, clientAuthority: authority, hba });
    const certificateFile = file("gateway.pem", client.certificate);
    const keyFile = file("gateway-key.pem", client.key);
    const gateway = await GatewayUnderTest.create(server, {
      config: (database) => ({
        source: {
          host: "localhost",
          port: server.port,
          database,
          user: "ingest",
          sslMode: "verify-full",
          sslRootCertFile: file("authority.pem", authority.certificate),
          sslCertFile: certificateFile,
          sslKey: { file: keyFile },
        },
      }),
    });
    try {
      const serials = async () => {
        const { rows } = await gateway.client.query<{ serial: string; type: string }>(
          `SELECT DISTINCT client_serial::text AS serial, backend_type AS type
             FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_dn = '/CN=ingest' ORDER BY 2`,
        );
        return rows;
      };
      await gateway.client.query("INSERT INTO item SELECT g, 'copied' FROM generate_series(1, 1000) g");
      gateway.process.start();
      await gateway.caughtUp();
      await gateway.client.query("INSERT INTO item VALUES (1001, 'streamed')");
      await gateway.caughtUp();
      expect(await gateway.differences()).toEqual([]);
      const before = (await serials()).map(({ serial }) => serial);
      expect(new Set(before).size).toBe(1);

      const renewed = makeCertificate({ subject: "ingest", issuer: authority });
      writeFileSync(keyFile, renewed.key);
      writeFileSync(certificateFile, renewed.certificate);
      await gateway.client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ingest'");
      await until("all sessions have the new certificate", async () => {
        const now = await serials();
        const isRenewed = now.every(({ serial }) => serial !== before[0]);
        return isRenewed && now.some(({ type }) => type === "walsender");
      });
      await gateway.client.query("INSERT INTO item VALUES (1002, 'after')");
      await gateway.caughtUp();
      expect(await gateway.differences()).toEqual([]);
    } finally {
      await gateway.close();
    }
  });
});

describe("settings", () => {
  it.each<[string, string[], string]>([
    ["localhost", [], "disable"],
    ["127.0.0.1", [], "disable"],
    ["127.1.2.3", ["::1"], "disable"],
    ["/var/run/postgresql", [], "disable"],
    ["localhost", ["db.internal"], "verify-full"],
    ["10.0.0.1", [], "verify-full"],
    ["127.0.0.1.example", [], "verify-full"],
    ["localhost.example", [], "verify-full"],
  ])("%s and %j have the default %s", (host, others, mode) => {
    expect(defaultSslMode({ host, failoverHosts: others.map((other) => ({ host: other, port: 5432 })) })).toBe(mode);
  });

  it.each<[Record<string, unknown>, string]>([
    [{ sslRootCert: "a", sslRootCertFile: "b" }, "sslRootCert"],
    [{ sslCert: "a", sslCertFile: "b", sslKey: "c" }, "sslCert"],
    [{ sslCert: "a" }, "sslCert"],
    [{ sslKey: "a" }, "sslKey"],
    [{ sslCert: "a", sslKey: "b", sslMode: "disable" }, "sslMode"],
    [{ standby: "allow", failoverHosts: [] }, "standby"],
  ])("that don't agree are told: %j", (settings, property) => {
    expect(sourceProblems(settings)).toEqual([{ property, message: expect.stringMatching(/\n {2}remedy: /) }]);
  });

  it.each(["allow", "prefer"])("%s, by which whoever is in between decides, is refused with a reason", (sslMode) => {
    const { error } = sourceSchema.safeParse({ ...server.source(), sslMode });
    expect(error?.issues[0].message).toMatch(/remedy: Use verify-full/);
  });
});
