import { expect } from "vitest";
import type { OperationResult } from "../engine/engine";
import { errorsOf } from "./ingestion-stack";

/** An operation that was carried out without an error. */
export function ok(result: OperationResult): OperationResult {
  expect(errorsOf(result)).toBe("");
  expect(result.failed).toBe(false);
  return result;
}

/** Our resources that an operation has changed, and how: `update Gateway`. */
export const changedResources = ({ steps }: OperationResult): string[] =>
  steps
    .filter(({ op, type }) => !["same", "read", "refresh"].includes(op) && type.startsWith("pulumi-nodejs:"))
    .map(({ op, type }) => `${op} ${type.split(":").at(-1)}`);
