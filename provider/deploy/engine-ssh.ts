import { Agent } from "node:http";
import { connect, type Socket } from "node:net";
import type { AuthenticationType, Client, ClientChannel, ConnectConfig, ServerHostKeyAlgorithm } from "ssh2";
import { SluiceError } from "../../runtime/errors";
import type { EngineAddress } from "./engine-address";
import { connectTimeoutMs, endLate } from "./engine-tcp";
import { type HostKeyVerdict, judgeHostKey, knownKeyTypes } from "./known-hosts";

export type SshAddress = Extract<EngineAddress, { kind: "ssh" }>;

/** How long a connection without a request is kept. */
const idleMs = 2_000;

/**
 * Requests to an engine's socket on another machine, each a channel of one SSH connection (by OpenSSH's forwarding of
 * sockets, so that the other machine needs no program for it). The host's key must be a known one before anything is sent.
 */
export function sshAgent(address: SshAddress): Agent {
  let connection: Promise<Client> | null = null;
  const connected = (): Promise<Client> => {
    const forget = () => {
      if (connection === opening) connection = null;
    };
    const opening = open(address, forget);
    opening.catch(forget);
    connection = opening;
    return opening;
  };
  const channel = async (): Promise<ClientChannel> => {
    const kept = connection;
    if (kept !== null) {
      const client = await kept;
      // One that was lost a moment ago is made anew.
      if (isOpen(client)) return openChannel(client, address);
    }
    return openChannel(await connected(), address);
  };
  const agent = new Agent();
  agent.createConnection = ((_options: unknown, done: (error: Error | null, stream?: Socket) => void) => {
    channel().then(
      (stream) => done(null, stream as unknown as Socket),
      (error: Error) => done(error),
    );
  }) as unknown as Agent["createConnection"];
  return agent;
}

/** Ends by itself, and keeps no process alive, when nobody has used it for a while. */
class Idleness {
  private channels = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly socket: Socket,
    private readonly end: () => void,
  ) {}

  get isOpen(): boolean {
    return this.socket.writable && !this.socket.destroyed;
  }

  opened(): void {
    this.channels++;
    clearTimeout(this.timer);
    this.socket.ref();
  }

  closed(): void {
    if (--this.channels > 0) return;
    this.socket.unref();
    this.timer = setTimeout(this.end, idleMs).unref();
  }
}

const idleness = new WeakMap<Client, Idleness>();

const isOpen = (client: Client): boolean => idleness.get(client)?.isOpen === true;

function open(address: SshAddress, forget: () => void): Promise<Client> {
  const { Client } = require("ssh2") as typeof import("ssh2");
  const { host, port } = address;
  return new Promise<Client>((resolve, reject) => {
    let verdict: HostKeyVerdict | null = null;
    const client = new Client();
    const settings = settingsOf(address);
    const fail = (error: Error & { level?: string; code?: unknown }) => {
      forget();
      socket.destroy();
      reject(sshError(error, verdict, address));
    };
    const socket = connect({ host, port });
    endLate(socket, host, port, "connect", (error) => {
      if (error !== null) return fail(error);
      idleness.set(client, new Idleness(socket, () => client.end()));
      try {
        client
          .on("ready", () => resolve(client))
          .on("error", fail)
          .on("close", () => fail(new Error("the connection was closed")))
          .connect({
            ...settings,
            sock: socket,
            hostVerifier: (key: Buffer) => {
              verdict = judgeHostKey(address.keys.knownHosts, host, port, key);
              return verdict === "known";
            },
          });
      } catch (thrown) {
        fail(thrown as Error);
      }
    });
  });
}

function settingsOf({ host, port, user, keys }: SshAddress): ConnectConfig {
  const { utils } = require("ssh2") as typeof import("ssh2");
  const { SUPPORTED_SERVER_HOST_KEY: supported, DEFAULT_SERVER_HOST_KEY: usual } =
    require("ssh2/lib/protocol/constants") as {
      SUPPORTED_SERVER_HOST_KEY: string[];
      DEFAULT_SERVER_HOST_KEY: string[];
    };
  const known = knownKeyTypes(keys.knownHosts, host, port).filter((type) => supported.includes(type));
  const serverHostKey = [...new Set([...known, ...usual])] as ServerHostKeyAlgorithm[];
  const readable = keys.privateKeys.filter((key) => !(utils.parseKey(key) instanceof Error));
  if (readable.length === 0 && keys.agent === undefined) {
    throw new SluiceError("config", `there is no key for ${user}@${host} that can be used without a passphrase`, {
      remedy: "Set deployment.ssh.key to a private key, or add yours to an agent (ssh-add) and set SSH_AUTH_SOCK.",
    });
  }
  const attempts = [
    ...(keys.agent === undefined ? [] : [{ type: "agent" as const, username: user, agent: keys.agent }]),
    ...readable.map((key) => ({ type: "publickey" as const, username: user, key })),
  ];
  return {
    username: user,
    readyTimeout: connectTimeoutMs,
    algorithms: { serverHostKey },
    authHandler: attempts as unknown as AuthenticationType[],
  };
}

function openChannel(client: Client, { host, socketPath }: SshAddress): Promise<ClientChannel> {
  const path = socketPath ?? "/var/run/docker.sock";
  const use = idleness.get(client);
  use?.opened();
  return new Promise((resolve, reject) => {
    client.openssh_forwardOutStreamLocal(path, (error, channel) => {
      if (error !== undefined) {
        use?.closed();
        reject(channelError(error, path, host));
        return;
      }
      channel.once("close", () => use?.closed());
      resolve(channel);
    });
  });
}

/** RFC 4254, section 5.1. */
const prohibited = 1;

function channelError(error: Error & { reason?: unknown }, path: string, host: string): SluiceError {
  if (error.reason === prohibited) {
    return new SluiceError("permission", `the SSH server of ${host} forwards no sockets`, {
      remedy: "Set AllowStreamLocalForwarding yes (or local) in its sshd_config.",
      cause: error,
    });
  }
  return new SluiceError(
    "unreachable",
    `no container engine answers at ${path} on ${host}, or this user may not use it`,
    {
      remedy: `Start it there, add the user to the group that owns the socket, or give another path: ssh://user@${host}/run/user/1000/docker.sock.`,
      cause: error,
    },
  );
}

function sshError(
  error: Error & { level?: string; code?: unknown },
  verdict: HostKeyVerdict | null,
  address: SshAddress,
): Error {
  if (error instanceof SluiceError) return error;
  const { host, port, user, keys } = address;
  const scan = `ssh-keyscan${port === 22 ? "" : ` -p ${port}`} ${host}`;
  switch (verdict) {
    case "unknown":
      return new SluiceError("tls", `the SSH host key of ${host}:${port} isn't known (${keys.knownHostsPath})`, {
        remedy: `Connect once by ssh and compare the key's fingerprint; or add the line of ${scan}, compared on the machine itself, to ${keys.knownHostsPath}.`,
      });
    case "changed":
      return new SluiceError(
        "tls",
        `the SSH host key of ${host}:${port} is another than ${keys.knownHostsPath} has: somebody may be in between`,
        {
          remedy: `If the machine was made anew, remove its old key with ssh-keygen -R and add the new one (${scan}).`,
        },
      );
    case "revoked":
      return new SluiceError("tls", `the SSH host key of ${host}:${port} is revoked in ${keys.knownHostsPath}`, {
        remedy: "Give the machine a new host key, and add it to the known ones.",
      });
    default:
  }
  if (error.level === "client-authentication" || error.level === "agent") {
    return new SluiceError("authentication", `${host} refuses ${user}'s keys`, {
      remedy: `Add a public key to ${user}'s authorized_keys there, or set deployment.ssh.key to another private key.`,
      cause: error,
    });
  }
  if (error.level === "client-timeout") {
    return new SluiceError(
      "unreachable",
      `the SSH server of ${host}:${port} does not answer within ${connectTimeoutMs} ms`,
      {
        remedy: "Look whether an SSH server listens at this address.",
        cause: error,
      },
    );
  }
  return error;
}
