/** Where Redis is, as operators write it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRedisUrl, redisText } from "../../src/redis/redis-url.ts";

const NOBODY = { username: undefined, password: undefined };
const GOOD = {
  "redis://localhost": {
    ...NOBODY,
    kind: "standalone",
    places: [{ host: "localhost", port: 6379 }],
    tls: false,
    db: 0,
    master: undefined,
  },
  "rediss://relay:p%40ss@10.0.0.9:6380/3": {
    kind: "standalone",
    places: [{ host: "10.0.0.9", port: 6380 }],
    username: "relay",
    password: "p@ss",
    tls: true,
    db: 3,
    master: undefined,
  },
  "redis://:secret@[::1]:7": {
    kind: "standalone",
    places: [{ host: "::1", port: 7 }],
    username: undefined,
    password: "secret",
    tls: false,
    db: 0,
    master: undefined,
  },
  "redis-sentinel://a:1,b/voice/2": {
    ...NOBODY,
    kind: "sentinel",
    places: [
      { host: "a", port: 1 },
      { host: "b", port: 26379 },
    ],
    tls: false,
    db: 2,
    master: "voice",
  },
  "rediss-cluster://u:p@a,b:2": {
    kind: "cluster",
    places: [
      { host: "a", port: 6379 },
      { host: "b", port: 2 },
    ],
    username: "u",
    password: "p",
    tls: true,
    db: 0,
    master: undefined,
  },
};

test("each form says where Redis is", () => {
  for (const [text, parsed] of Object.entries(GOOD)) assert.deepEqual(parseRedisUrl(text), parsed, text);
});

test("what is none of the forms is refused", () => {
  for (const text of [
    "",
    "localhost:6379",
    "http://localhost",
    "redis://",
    "redis://a,b",
    "redis://a:0",
    "redis://a:70000",
    "redis://a/x",
    "redis://a/1/2",
    "redis://a:b:c",
    "redis://%zz:p@a",
    "redis-sentinel://a:1",
    "redis-sentinel://a:1/",
    "redis-cluster://a/1",
  ]) {
    assert.equal(parseRedisUrl(text), undefined, text);
  }
});

test("what is shown of it holds no secret", () => {
  const text = redisText(parseRedisUrl("rediss-sentinel://user:secret@a:1,[::1]:2/voice")!);
  assert.equal(text, "sentinel a:1,[::1]:2 (voice)");
});
