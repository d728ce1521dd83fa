import assert from "node:assert/strict";
import { test } from "node:test";
import { RtpHeader } from "werift";
import { isWeriftFault } from "../../src/transceiver/werift/faults.ts";

function thrownBy(task: () => unknown): unknown {
  try {
    task();
  } catch (error) {
    return error;
  }
  return undefined;
}

test("an error of Node's that werift ran into is werift's", () => {
  const error = thrownBy(() => RtpHeader.deSerialize(Buffer.alloc(2)));
  assert.ok(error instanceof RangeError);
  assert.equal(isWeriftFault(error), true);
});

test("an error of ours is not, even where werift called us", () => {
  const error = thrownBy(() => {
    const header = new RtpHeader();
    Object.defineProperty(header, "csrc", {
      get() {
        throw new Error("ours");
      },
    });
    return header.serializeSize;
  });
  assert.match((error as Error).stack!, /werift/);
  assert.equal(isWeriftFault(error), false);
});

for (const reason of [undefined, "text", {}, new Error("ours")]) {
  test(`${String(reason)} is not`, () => assert.equal(isWeriftFault(reason), false));
}
