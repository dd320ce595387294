import { z } from "zod";

/** The manager that runs the units: the machine's, as root, or that of the user who runs Pulumi. */
export const scopeSchema = z.enum(["user", "system"]);
export type Scope = z.infer<typeof scopeSchema>;

/** Processes of this machine. */
export const localOptionsSchema = z
  .strictObject({
    kind: z.literal("local"),
    /** who starts a process again: default `sluice`, one of ours, as long as the machine is up; `systemd`, also after that */
    supervisor: z.enum(["sluice", "systemd"]).optional(),
    /** of systemd: default `system` for root, else `user` */
    scope: scopeSchema.optional(),
    /** of scope `system`: a user of this machine, by name; default root */
    user: z
      .string()
      .regex(/^[a-zA-Z_][a-zA-Z0-9_.-]{0,30}$/, { error: "give the name of a user of this machine" })
      .optional(),
  })
  .refine(({ supervisor, scope }) => scope === undefined || supervisor === "systemd", {
    error: 'a scope is of supervisor "systemd"',
    path: ["scope"],
  })
  .refine((target) => target.user === undefined || systemdScope(target) === "system", {
    error: 'a user is of supervisor "systemd" with scope "system", as root has it',
    path: ["user"],
  });
export type LocalTarget = z.infer<typeof localOptionsSchema>;

/** Null where a process is supervised by our own. */
export function systemdScope({ supervisor, scope }: { supervisor?: string; scope?: Scope }): Scope | null {
  if (supervisor !== "systemd") return null;
  return scope ?? (process.geteuid?.() === 0 ? "system" : "user");
}
