import type { PropertyMap } from "./property-values";
import { ProviderClient } from "./provider-client";
import { type ProviderProcessOptions, startProviderProcess } from "./provider-process";
import { packageOf, parseProviderReference, parseUrn } from "./urn";

/** The provider processes of one operation, one for each provider resource, started when first needed. */
export class ProviderRegistry {
  readonly #options: ProviderProcessOptions;
  readonly #config = new Map<string, PropertyMap>();
  readonly #clients = new Map<string, Promise<ProviderClient>>();

  constructor(options: ProviderProcessOptions) {
    this.#options = options;
  }

  /** Makes a provider resource known; its inputs are what it is configured with. */
  register(reference: string, inputs: PropertyMap): void {
    this.#config.set(reference, inputs);
  }

  /** The configured provider of a reference `urn::id`. */
  get(reference: string): Promise<ProviderClient> {
    const known = this.#clients.get(reference);
    if (known) return known;
    const client = this.#start(reference);
    client.catch(() => {});
    this.#clients.set(reference, client);
    return client;
  }

  async stop(): Promise<void> {
    const clients = await Promise.allSettled(this.#clients.values());
    await Promise.all(clients.map((client) => (client.status === "fulfilled" ? client.value.stop() : undefined)));
  }

  async #start(reference: string): Promise<ProviderClient> {
    const { urn } = parseProviderReference(reference);
    const packageName = packageOf(parseUrn(urn).type);
    const script = this.#options.plugins?.[packageName];
    if (packageName !== "pulumi-nodejs" && script === undefined) {
      throw new Error(`the test engine has no plug-in for package ${packageName}: use the pulumi CLI`);
    }
    const config = this.#config.get(reference);
    if (!config) throw new Error(`the state has no provider ${reference}`);
    const client = new ProviderClient(await startProviderProcess(this.#options, script));
    await client.configure(config);
    return client;
  }
}
