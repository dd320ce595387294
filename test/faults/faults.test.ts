// Contract: the lane of faults says what it takes, makes the same faults for the same seed, and finds the destination
// equal to the source after them (invariants 1 to 4). The long run is `npm run faults`.
import { afterAll, beforeAll, expect, it } from "vitest";
import { failpoints } from "../../runtime/failpoint";
import { longTest } from "../support/long-test";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { Random } from "../support/random";
import { chooseFault, describeFault, isKill } from "./fault";
import { readFaultsCommand } from "./fault-options";
import { FaultRound } from "./fault-round";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres({ settings: { logical_decoding_work_mem: "64kB" } });
});
afterAll(async () => {
  await postgres?.stop();
});

it("takes seed, minutes and rounds, and refuses what it doesn't understand", () => {
  expect(readFaultsCommand([], 7)).toEqual({
    kind: "run",
    lane: "pair",
    seed: 7,
    minutes: 5,
    roundsMax: 100_000,
    json: false,
  });
  expect(readFaultsCommand(["--applier", "--seed", "3", "--minutes", "0.5", "--rounds", "2", "--json"], 7)).toEqual({
    kind: "run",
    lane: "applier",
    seed: 3,
    minutes: 0.5,
    roundsMax: 2,
    json: true,
  });
  for (const bad of [["--seed", "x"], ["--minutes", "0"], ["--rounds", "1.5"], ["--bogus"]]) {
    expect(readFaultsCommand(bad, 7).kind).toBe("error");
  }
});

it("chooses every kind of fault and every failpoint, the same for a seed", () => {
  const choose = (seed: number) => {
    const random = new Random(seed);
    return Array.from({ length: 2_000 }, () => chooseFault(random));
  };
  const faults = choose(5);
  expect(choose(5)).toEqual(faults);
  expect(new Set(faults.map((fault) => fault.kind)).size).toBe(12);
  const named = new Set(faults.flatMap((fault) => (fault.kind === "failpoint" ? [fault.name] : [])));
  expect([...named].sort()).toEqual([...failpoints].sort());
  expect(new Set(faults.map(describeFault)).size).toBeGreaterThan(20);
  expect(faults.filter(isKill).length).toBeGreaterThan(faults.length / 3);
});

longTest(
  "finds the destination equal to the source after kills and cuts",
  async () => {
    const result = await FaultRound.run(postgres, {
      seed: 11,
      scale: 0.01,
      faults: [
        { kind: "kill", role: "gateway" },
        { kind: "failpoint", name: "gateway.after-record", pass: 2 },
        { kind: "terminate", sessions: "all" },
        { kind: "failpoint", name: "applier.after-commit", pass: 2 },
        { kind: "cut", ms: 200 },
      ],
      progress: () => {},
    });
    expect(result).toMatchObject({ lost: 0, doubled: 0, problems: [], unreached: [] });
    expect(result.rows).toBeGreaterThan(5_000);
  },
  150_000,
);
