import { PolicyPack } from "@pulumi/policy";
import { sluicePolicies } from "pulumi-sluice/policy";

// Levels and settings: `pulumi preview --policy-pack policy --policy-pack-config policy-config.json`.
new PolicyPack("sluice", { policies: sluicePolicies() });
