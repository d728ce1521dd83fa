import assert from "node:assert/strict";
import { test } from "node:test";
import { cpuQuota, quotaWarning } from "../../src/relay/cpu-quota.ts";

const reading = (files: Readonly<Record<string, string>>) => (file: string) => files[file];

const V2 = "/proc/self/cgroup";
const CASES = [
  { what: "no cgroups", files: {}, quota: undefined },
  { what: "v2 without a limit", files: { [V2]: "0::/\n", "/sys/fs/cgroup/cpu.max": "max 100000\n" }, quota: undefined },
  { what: "v2 with a limit", files: { [V2]: "0::/\n", "/sys/fs/cgroup/cpu.max": "150000 100000\n" }, quota: 1.5 },
  {
    what: "v2, the tightest of the limits above",
    files: {
      [V2]: "0::/system.slice/earshot.service\n",
      "/sys/fs/cgroup/system.slice/earshot.service/cpu.max": "400000 100000\n",
      "/sys/fs/cgroup/system.slice/cpu.max": "50000 100000\n",
    },
    quota: 0.5,
  },
  {
    what: "v1, where another controller has another path",
    files: {
      [V2]: "5:memory:/m\n4:cpu,cpuacct:/docker/1\n",
      "/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us": "200000\n",
      "/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n",
      "/sys/fs/cgroup/cpu,cpuacct/m/cpu.cfs_quota_us": "1\n",
    },
    quota: 2,
  },
  {
    what: "v1 without a limit",
    files: {
      [V2]: "4:cpu:/\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    },
    quota: undefined,
  },
] as const;

for (const { what, files, quota } of CASES) {
  test(`the CPU quota: ${what}`, () => assert.equal(cpuQuota(reading(files)), quota));
}

test("a quota is warned of where workers and control plane would exceed it, and not where they fit", () => {
  const files = reading({ [V2]: "0::/\n", "/sys/fs/cgroup/cpu.max": "300000 100000\n" });
  assert.equal(quotaWarning(2, files), undefined);
  assert.match(
    quotaWarning(3, files)!,
    /^a cgroup limits this process to 3 CPUs \(cpu\.max\), and 3 busy workers .* up to 4:/,
  );
  assert.equal(quotaWarning(200, reading({})), undefined);
});
