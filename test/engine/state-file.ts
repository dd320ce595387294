import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { mapSigned, type PropertyMap, type PropertyValue, SECRET, SIGNATURE } from "./property-values";
import type { ResourceState } from "./resource-state";
import { SecretEncryption } from "./secret-encryption";

export interface PendingOperation {
  resource: ResourceState;
  type: "creating" | "updating" | "deleting" | "reading";
}

interface Checkpoint {
  version: 3;
  deployment: {
    manifest: { time: string; magic: string; version: string };
    secrets_providers: { type: "passphrase"; state: { salt: string } };
    resources: ResourceState[];
    pending_operations: PendingOperation[];
  };
}

/** The checkpoint of a stack in a file of mode 0600, in the CLI's shape; secrets are encrypted by a passphrase. */
export class StateFile {
  readonly #path: string;
  readonly #encryption: SecretEncryption;
  readonly resources: ResourceState[];
  /** What was under way when the last operation was killed. */
  readonly interrupted: PendingOperation[];

  private constructor(path: string, encryption: SecretEncryption, checkpoint?: Checkpoint) {
    this.#path = path;
    this.#encryption = encryption;
    this.resources = (checkpoint?.deployment.resources ?? []).map((state) => this.#opened(state));
    this.interrupted = checkpoint?.deployment.pending_operations ?? [];
  }

  /** A file that does not exist is an empty stack. */
  static async open(path: string, passphrase: string): Promise<StateFile> {
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      return new StateFile(path, await SecretEncryption.create(passphrase));
    }
    const checkpoint = JSON.parse(text) as Checkpoint;
    if (checkpoint.version !== 3) throw new Error(`${path} is no checkpoint of version 3`);
    const salt = checkpoint.deployment.secrets_providers.state.salt;
    return new StateFile(path, await SecretEncryption.open(passphrase, salt), checkpoint);
  }

  /** Replaces the file at once, so that a kill leaves the old one or the new one. */
  save(resources: readonly ResourceState[], pending: readonly PendingOperation[]): void {
    const time = new Date().toISOString();
    const version = "v3.0.0";
    const checkpoint: Checkpoint = {
      version: 3,
      deployment: {
        manifest: { time, magic: createHash("sha256").update(version).digest("hex"), version },
        secrets_providers: { type: "passphrase", state: { salt: this.#encryption.salt } },
        resources: resources.map((state) => this.#sealed(state)),
        pending_operations: pending.map((operation) => ({ ...operation, resource: this.#sealed(operation.resource) })),
      },
    };
    mkdirSync(dirname(this.#path), { recursive: true });
    const temporary = `${this.#path}.${randomUUID()}`;
    writeFileSync(temporary, JSON.stringify(checkpoint, null, 1), { mode: 0o600 });
    renameSync(temporary, this.#path);
  }

  #sealed(state: ResourceState): ResourceState {
    const seal = (value: PropertyValue): PropertyValue =>
      mapSigned(value, (signed) => {
        if (signed[SIGNATURE] !== SECRET) return signed;
        return { [SIGNATURE]: SECRET, ciphertext: this.#encryption.encrypt(JSON.stringify(signed.value)) };
      });
    return { ...state, inputs: seal(state.inputs) as PropertyMap, outputs: seal(state.outputs) as PropertyMap };
  }

  #opened(state: ResourceState): ResourceState {
    const open = (value: PropertyValue): PropertyValue =>
      mapSigned(value, (signed) => {
        if (signed[SIGNATURE] !== SECRET || typeof signed.ciphertext !== "string") return signed;
        return { [SIGNATURE]: SECRET, value: JSON.parse(this.#encryption.decrypt(signed.ciphertext)) };
      });
    const inputs = open(state.inputs ?? {}) as PropertyMap;
    return { ...state, inputs, outputs: open(state.outputs ?? {}) as PropertyMap };
  }
}
