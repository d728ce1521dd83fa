/**
 * What every engine does, over real sockets on loopback. Each test asserts the whole change of all counters, and with
 * each the accounting equations. Every worker counter is reached by at least one test; the kernel's own drops are not,
 * because making a kernel drop on demand depends on the machine.
 */
import { describe } from "node:test";
import type { MakeEngine } from "../kit/engine-rig.ts";
import { flowEndCases } from "./flow-ends.cases.ts";
import { flowCases } from "./flows.cases.ts";
import { frameCases } from "./frames.cases.ts";
import { holdCases } from "./hold.cases.ts";
import { keyCases } from "./keys.cases.ts";
import { lanesCases } from "./lanes.cases.ts";
import { lifecycleCases } from "./lifecycle.cases.ts";
import { restoreCases } from "./restore.cases.ts";
import { trafficCases } from "./traffic.cases.ts";
import { trunkCases } from "./trunk.cases.ts";
import { uplinkCases } from "./uplink.cases.ts";

export function describeEngine(name: string, make: MakeEngine): void {
  describe(`the ${name} engine`, () => {
    describe("life", () => lifecycleCases(make));
    describe("lanes", () => lanesCases(make));
    describe("uplink", () => uplinkCases(make));
    describe("flows", () => flowCases(make));
    describe("ends of flows", () => flowEndCases(make));
    describe("restored flows", () => restoreCases(make));
    describe("held datagrams", () => holdCases(make));
    describe("trunk datagrams", () => trunkCases(make));
    describe("frames", () => frameCases(make));
    describe("traffic", () => trafficCases(make));
    describe("keys", () => keyCases(make));
  });
}
