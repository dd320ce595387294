import type * as pulumi from "@pulumi/pulumi";
import type { Kind } from "./handlers";

/**
 * What Pulumi stores in the state, as code, and runs at refresh and delete. It captures nothing but its kind: all that
 * it does is behind `pulumi-sluice/provider/handlers`, found from the program's folder.
 */
export class StoredProvider implements pulumi.dynamic.ResourceProvider {
  constructor(readonly kind: Kind) {}

  async check(olds: unknown, news: unknown): Promise<pulumi.dynamic.CheckResult> {
    const { dispatch } = await import("pulumi-sluice/provider/handlers");
    return (await dispatch(this.kind, "check", [olds, news])) as pulumi.dynamic.CheckResult;
  }

  async diff(id: string, olds: unknown, news: unknown): Promise<pulumi.dynamic.DiffResult> {
    const { dispatch } = await import("pulumi-sluice/provider/handlers");
    return (await dispatch(this.kind, "diff", [id, olds, news])) as pulumi.dynamic.DiffResult;
  }

  async create(inputs: unknown): Promise<pulumi.dynamic.CreateResult> {
    const { dispatch } = await import("pulumi-sluice/provider/handlers");
    return (await dispatch(this.kind, "create", [inputs])) as pulumi.dynamic.CreateResult;
  }

  async read(id: string, props: unknown): Promise<pulumi.dynamic.ReadResult> {
    const { dispatch } = await import("pulumi-sluice/provider/handlers");
    return (await dispatch(this.kind, "read", [id, props])) as pulumi.dynamic.ReadResult;
  }

  async update(id: string, olds: unknown, news: unknown): Promise<pulumi.dynamic.UpdateResult> {
    const { dispatch } = await import("pulumi-sluice/provider/handlers");
    return (await dispatch(this.kind, "update", [id, olds, news])) as pulumi.dynamic.UpdateResult;
  }

  async delete(id: string, props: unknown): Promise<void> {
    const { dispatch } = await import("pulumi-sluice/provider/handlers");
    await dispatch(this.kind, "delete", [id, props]);
  }
}

/** The module part of every type: `pulumi-nodejs:dynamic/sluice:Gateway`. Changing it would change every URN. */
export const moduleName = "sluice";
