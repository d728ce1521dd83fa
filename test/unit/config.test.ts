import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { expandListen, reachableByClients } from "../../src/config/ingresses.ts";
import { loadConfig, type Sources } from "../../src/config/load.ts";
import type { Command, Config } from "../../src/config/schema.ts";
import { EarshotError } from "../../src/earshot-error.ts";

const machine = { parallelism: 4 };

function load<C extends Command>(command: C, sources: Partial<Sources> & { file?: string } = {}): Config<C> {
  const { file, ...rest } = sources;
  const flags = { ...(file === undefined ? {} : { config: "earshot.yaml" }), ...rest.flags };
  return loadConfig(command, {
    environment: {},
    machine,
    readText: (name) => {
      if (name === "earshot.yaml" && file !== undefined) return file;
      throw Object.assign(new Error("no such file"), { code: "ENOENT" });
    },
    ...rest,
    flags,
  });
}

describe("defaults", () => {
  test("of start", () => {
    assert.deepEqual(load("start"), {
      listen: [
        { address: "0.0.0.0", port: 3478 },
        { address: "::", port: 3478 },
      ],
      advertise: undefined,
      trunk: { address: "127.0.0.1", port: 0 },
      engine: "native",
      workers: 3,
      lanes: 4,
      cpus: [],
      gatherUs: 50,
      flowCapacity: 65536,
      newFlows: 20000,
      newFlowsPerPrefix: 1000,
      lanePackets: 20_000,
      gapMs: 250,
      receiveBuffer: 4_160_000,
      redis: undefined,
      redisHoldMs: 10_000,
      redisPrefix: "earshot:",
      ingressId: 1,
      id: 1,
      processes: 1,
      maxCalls: 1000,
      maxNewCallsPerSecond: 100,
      maxIdleSeconds: 600,
      maxCallSeconds: 7200,
      backend: "echo",
      backendUrl: undefined,
      backendAudio: "pcm16-24000",
      backendSession: undefined,
      backendKey: undefined,
      backendHeaders: {},
      backendModule: undefined,
      maxQueuedAudioSeconds: 60,
      http: { address: "127.0.0.1", port: 8080 },
      authTokens: undefined,
      jwtKeys: undefined,
      jwtIssuer: undefined,
      jwtAudience: undefined,
      iceServers: [],
      corsOrigin: ["*"],
      cluster: 1,
      keys: undefined,
      logLevel: "info",
      config: undefined,
      controlSocket: undefined,
    });
  });

  test("of transceiver, where they differ", () => {
    const config = load("transceiver", { flags: { keys: "keys.json" } });
    assert.deepEqual(config.trunk, { address: "127.0.0.1", port: 7000 });
    assert.equal("workers" in config, false);
  });

  test("leave one worker on a machine with one CPU", () => {
    assert.equal(load("start", { machine: { parallelism: 1 } }).workers, 1);
  });

  test("follow the engine: js has one worker", () => {
    assert.equal(load("start", { flags: { engine: "js" } }).workers, 1);
  });

  test("follow the pinning: one worker for each CPU", () => {
    const config = load("start", { flags: { cpus: "1-2" } });
    assert.deepEqual([config.workers, config.cpus], [2, [1, 2]]);
  });

  test("size the receive buffers for rate and gap, unless their size is given", () => {
    const receiveBuffer = (flags: Record<string, unknown>) => load("start", { flags }).receiveBuffer;
    assert.equal(receiveBuffer({ lanePackets: "50000", gapMs: "1000" }), 50_000 * 832);
    assert.equal(receiveBuffer({ lanePackets: "50000", gapMs: "1000", receiveBuffer: "1MiB" }), 1 << 20);
    assert.equal(receiveBuffer({ lanePackets: "100", gapMs: "1" }), 65_536);
    assert.equal(receiveBuffer({ lanePackets: "2000000", gapMs: "10000" }), 1 << 30);
  });

  test("have a lane for each CPU, and at least one for each worker; js has one", () => {
    const lanes = (flags: Record<string, unknown>) => load("start", { flags }).lanes;
    assert.deepEqual(
      [lanes({}), lanes({ workers: "9" }), lanes({ engine: "js" }), lanes({ lanes: "7" })],
      [4, 9, 1, 7],
    );
  });
});

test("a flag wins over the environment, that over the file, that over the default", () => {
  const file = "id: 4\nmaxCalls: 40\ncluster: 400";
  const environment = { EARSHOT_ID: "3", EARSHOT_MAX_CALLS: "30" };
  const { id, maxCalls, cluster, maxCallSeconds } = load("start", { file, environment, flags: { id: "2" } });
  assert.deepEqual(
    { id, maxCalls, cluster, maxCallSeconds },
    { id: 2, maxCalls: 30, cluster: 400, maxCallSeconds: 7200 },
  );
});

test("the file can be named by the environment", () => {
  const sources = { flags: {}, environment: { EARSHOT_CONFIG: "earshot.yaml" }, machine, readText: () => "id: 9" };
  assert.equal(loadConfig("start", sources).id, 9);
});

test("the configuration is frozen, to the bottom", () => {
  const config = load("start");
  assert.ok(Object.isFrozen(config) && Object.isFrozen(config.listen) && Object.isFrozen(config.listen[0]));
});

test("lists come from repeated flags, comma lists and YAML lists alike", () => {
  const expected = [
    { address: "192.0.2.1", port: 1 },
    { address: "2001:db8::1", port: 2 },
  ];
  const listen = (sources: Parameters<typeof load>[1]) => load("start", sources).listen;
  assert.deepEqual(listen({ flags: { listen: ["192.0.2.1:1", "[2001:db8:0::1]:2"] } }), expected);
  assert.deepEqual(listen({ environment: { EARSHOT_LISTEN: "192.0.2.1:1, [2001:db8::1]:2" } }), expected);
  assert.deepEqual(listen({ file: 'listen: ["192.0.2.1:1", "[2001:db8::1]:2"]' }), expected);
  assert.deepEqual(listen({ file: '{"listen": "192.0.2.1:1,[2001:db8::1]:2"}' }), expected);
});

test("values can be spelt in several ways", () => {
  const config = load("start", {
    flags: {
      receiveBuffer: "512KiB",
      corsOrigin: ["https://a.example/", "http://localhost:3000"],
      http: "localhost:0",
    },
    file: "flowCapacity: 1024\ncpus: 3",
  });
  assert.equal(config.receiveBuffer, 524288);
  assert.deepEqual(config.corsOrigin, ["https://a.example", "http://localhost:3000"]);
  assert.deepEqual(config.http, { address: "127.0.0.1", port: 0 });
  assert.equal(config.flowCapacity, 1024);
  assert.deepEqual(config.cpus, [3]);
});

test("off-values switch off", () => {
  const { cpus, corsOrigin, logLevel } = load("start", {
    flags: { cpus: "off", corsOrigin: "off", logLevel: "silent" },
  });
  assert.deepEqual({ cpus, corsOrigin, logLevel }, { cpus: [], corsOrigin: [], logLevel: "silent" });
});

test("a variable that is empty, of another command, or of others with our prefix is passed over", () => {
  const environment = {
    EARSHOT_KEYS: "",
    EARSHOT_MAX_CALLS: "many",
    EARSHOT_SERVICE_HOST: "10.0.0.1",
    EARSHOT_PORT_3478_UDP_ADDR: "10.0.0.1",
    EARSHOT_RELAY_SERVICE_PORT: "3478",
    EARSHOT_VERSION: "0.1.0",
    PATH: "/bin",
  };
  const file = "keys: k\ndirectory: [{ id: 1, address: 127.0.0.1, port: 7000 }]";
  assert.equal(load("relay", { environment, file }).keys, "k");
});

test("a directory is read from the file", () => {
  const file = "keys: k\ntrunk: 10.0.0.4:0\ndirectory:\n  - { id: 7, address: 10.0.0.5, port: 7000 }";
  assert.deepEqual(load("relay", { file }).directory, [{ id: 7, address: "10.0.0.5", port: 7000 }]);
});

const HOST_PORT = "expected HOST:PORT with a literal address, IPv6 in brackets ([::1]:8080)";
const REMOTE = `${HOST_PORT}, one host and a port from 1 to 65535`;
const RELAY = "keys: k\ntrunk: 10.0.0.4:0\n";

interface BadInput {
  readonly what: string;
  readonly command?: Command;
  readonly flags?: Record<string, unknown>;
  readonly environment?: Record<string, string>;
  readonly file?: string;
  readonly code: string;
  readonly message: string;
}

const BAD_INPUT: readonly BadInput[] = [
  {
    what: "a number that is none",
    flags: { workers: "many" },
    code: "CONFIG_VALUE",
    message: '--workers: expected a whole number from 1 to 255, got "many". Example: --workers 2',
  },
  {
    what: "a number out of range, from the environment",
    environment: { EARSHOT_WORKERS: "0" },
    code: "CONFIG_VALUE",
    message: 'EARSHOT_WORKERS: expected a whole number from 1 to 255, got "0". Example: EARSHOT_WORKERS=2',
  },
  {
    what: "a number out of range, from the file",
    file: "maxCalls: 1.5",
    code: "CONFIG_VALUE",
    message: "maxCalls in earshot.yaml: expected a whole number from 1 to 100000, got 1.5. Example: maxCalls: 1000",
  },
  {
    what: "an empty value in the file",
    file: "id:",
    code: "CONFIG_VALUE",
    message: "id in earshot.yaml: expected a whole number from 1 to 4294967295, got null. Example: id: 1",
  },
  {
    what: "an address without port",
    flags: { http: "127.0.0.1" },
    code: "CONFIG_VALUE",
    message: `--http: ${HOST_PORT}, got "127.0.0.1". Example: --http 127.0.0.1:8080`,
  },
  {
    what: "IPv6 without brackets",
    flags: { http: "::1:8080" },
    code: "CONFIG_VALUE",
    message: `--http: ${HOST_PORT}, got "::1:8080". Example: --http 127.0.0.1:8080`,
  },
  {
    what: "a port that is too high, in a list",
    flags: { listen: ["127.0.0.1:1,127.0.0.1:65536"] },
    code: "CONFIG_VALUE",
    message: `--listen: ${HOST_PORT}, got "127.0.0.1:65536". Example: --listen 0.0.0.0:3478`,
  },
  {
    what: "an IPv6 address with a zone",
    flags: { listen: ["[fe80::1%eth0]:1"] },
    code: "CONFIG_VALUE",
    message: `--listen: ${HOST_PORT}, got "[fe80::1%eth0]:1". Example: --listen 0.0.0.0:3478`,
  },
  {
    what: "a host name",
    flags: { trunk: "trunk.example:7000" },
    code: "CONFIG_VALUE",
    message: `--trunk: ${HOST_PORT}, got "trunk.example:7000". Example: --trunk 10.0.0.5:7000`,
  },
  {
    what: "a wildcard that clients are to send to",
    flags: { advertise: ["0.0.0.0:3478"] },
    code: "CONFIG_VALUE",
    message: `--advertise: ${REMOTE}, got "0.0.0.0:3478". Example: --advertise 203.0.113.7:3478`,
  },
  {
    what: "port 0 that clients are to send to",
    flags: { advertise: ["192.0.2.1:0"] },
    code: "CONFIG_VALUE",
    message: `--advertise: ${REMOTE}, got "192.0.2.1:0". Example: --advertise 203.0.113.7:3478`,
  },
  {
    what: "an engine that does not exist",
    flags: { engine: "rust" },
    code: "CONFIG_VALUE",
    message: '--engine: expected one of native, js, got "rust". Example: --engine native',
  },
  {
    what: "bytes with another unit",
    flags: { receiveBuffer: "4MB" },
    code: "CONFIG_VALUE",
    message:
      '--receive-buffer: expected bytes from 65536 to 1073741824, or with a unit as in 512KiB or 4MiB, got "4MB". Example: --receive-buffer 4MiB',
  },
  {
    what: "an origin with a path",
    flags: { corsOrigin: ["https://example.org/app"] },
    code: "CONFIG_VALUE",
    message:
      '--cors-origin: expected * or an origin such as https://example.org, without a path, got "https://example.org/app". Example: --cors-origin https://example.org',
  },
  {
    what: "CPUs that are no list",
    flags: { cpus: "3-1" },
    code: "CONFIG_VALUE",
    message: '--cpus: expected CPU numbers such as 0,2 or 0-3, or off, got "3-1". Example: --cpus 1,2',
  },
  {
    what: "a list where one value is expected",
    file: "http: [127.0.0.1:1, 127.0.0.1:2]",
    code: "CONFIG_VALUE",
    message: `http in earshot.yaml: ${HOST_PORT}, got ["127.0.0.1:1","127.0.0.1:2"]. Example: http: 127.0.0.1:8080`,
  },
  {
    what: "a directory that is no list",
    command: "relay",
    file: `${RELAY}directory: 10.0.0.5:7000`,
    code: "CONFIG_VALUE",
    message:
      'directory in earshot.yaml: expected a list of objects with id, address and port, got "10.0.0.5:7000". Example: directory: [{ id: 1, address: 10.0.0.5, port: 7000 }]',
  },
  {
    what: "a directory entry with a host name",
    command: "relay",
    file: `${RELAY}directory: [{ id: 1, address: media-1, port: 7000 }]`,
    code: "CONFIG_VALUE",
    message:
      'directory[0].address in earshot.yaml: expected a literal IPv4 or IPv6 address of one host, got "media-1". Example: directory: [{ id: 1, address: 10.0.0.5, port: 7000 }]',
  },
  {
    what: "a directory entry with a key that is not known",
    command: "relay",
    file: `${RELAY}directory: [{ id: 1, address: 10.0.0.5, port: 7000, weight: 2 }]`,
    code: "CONFIG_VALUE",
    message:
      "directory[0] in earshot.yaml: expected no other keys than id, address and port, got weight. Example: directory: [{ id: 1, address: 10.0.0.5, port: 7000 }]",
  },
  {
    what: "a misspelt variable",
    environment: { EARSHOT_WORKER: "2" },
    code: "CONFIG_UNKNOWN",
    message: "EARSHOT_WORKER in the environment is no setting of Earshot (did you mean EARSHOT_WORKERS?). Unset it",
  },
  {
    what: "a misspelt key",
    file: "maxcalls: 3",
    code: "CONFIG_UNKNOWN",
    message: "maxcalls in earshot.yaml is no setting of Earshot (did you mean maxCalls?). Take it out",
  },
  {
    what: "a key that is like no other",
    file: "colour: green",
    code: "CONFIG_UNKNOWN",
    message: "colour in earshot.yaml is no setting of Earshot. Take it out",
  },
  {
    what: "a file that names a file",
    file: "config: other.yaml",
    code: "CONFIG_UNKNOWN",
    message: "config in earshot.yaml is no setting of Earshot. Take it out",
  },
  {
    what: "a key of another command",
    file: "directory: []",
    code: "CONFIG_UNKNOWN",
    message: 'directory in earshot.yaml does not apply to "earshot start", only to relay. Take it out',
  },
  {
    what: "a file that is missing",
    flags: { config: "gone.yaml" },
    code: "CONFIG_FILE_MISSING",
    message: "gone.yaml cannot be read (ENOENT). Check the name given with --config or EARSHOT_CONFIG",
  },
  {
    what: "a file that is not YAML",
    file: "id: 1\nhttp: [",
    code: "CONFIG_FILE_INVALID",
    message:
      "earshot.yaml, line 2, column 8: not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]. Correct that line",
  },
  {
    what: "a key that comes twice",
    file: "id: 1\nid: 2",
    code: "CONFIG_FILE_INVALID",
    message: "earshot.yaml, line 2, column 1: not valid YAML: Map keys must be unique. Correct that line",
  },
  {
    what: "a file that is a list",
    file: "- id: 1",
    code: "CONFIG_FILE_INVALID",
    message: 'earshot.yaml: expected settings as "key: value" lines, got a list. Example: http: 127.0.0.1:8080',
  },
  {
    what: "a relay without keys",
    command: "relay",
    code: "CONFIG_KEYS_REQUIRED",
    message:
      '"earshot relay" needs the fleet keys: give --keys FILE, the same file to every relay and transceiver. Make one with: earshot keys new --out keys.json',
  },
  {
    what: "several workers for the js engine",
    flags: { engine: "js", workers: "2" },
    code: "CONFIG_CONFLICT",
    message: "--workers is 2, but the js engine has one worker. Leave it out",
  },
  {
    what: "pinning for the js engine",
    flags: { engine: "js" },
    environment: { EARSHOT_CPUS: "1" },
    code: "CONFIG_CONFLICT",
    message: "EARSHOT_CPUS pins workers, which the js engine cannot. Leave it out",
  },
  {
    what: "more CPUs than workers",
    flags: { cpus: "1,2", workers: "1" },
    code: "CONFIG_CONFLICT",
    message: "--workers is 1, but --cpus names 2. Give one CPU for each worker",
  },
  {
    what: "fewer lanes than workers",
    flags: { lanes: "1", workers: "2" },
    code: "CONFIG_CONFLICT",
    message: "--lanes is 1, but 2 workers need a lane each. Give at least as many",
  },
  {
    what: "several lanes for the js engine",
    flags: { engine: "js", lanes: "2" },
    code: "CONFIG_CONFLICT",
    message: "--lanes is 2, but the js engine has one lane. Leave it out",
  },
  {
    what: "trunk ports past the last",
    flags: { trunk: "127.0.0.1:65535" },
    code: "CONFIG_CONFLICT",
    message: "the trunk's ports start at 65535 and need 4 more, past 65535. Start lower with --trunk",
  },
  {
    what: "trunk ports of several processes past the last",
    command: "transceiver",
    flags: { keys: "k", trunk: "127.0.0.1:65533", processes: "4" },
    code: "CONFIG_CONFLICT",
    message: "the trunk's ports start at 65533 and 4 processes need 3 more, past 65535. Start lower with --trunk",
  },
  {
    what: "ids of several processes past the last",
    flags: { id: "4294967295", processes: "2" },
    code: "CONFIG_CONFLICT",
    message: "2 processes starting with id 4294967295 need ids past 4294967295. Start lower with --id",
  },
  {
    what: "a rate that is none",
    flags: { maxNewCallsPerSecond: "0" },
    code: "CONFIG_VALUE",
    message:
      '--max-new-calls-per-second: expected off, or a whole number from 1 to 100000, got "0". Example: --max-new-calls-per-second 100',
  },
  {
    what: "an issuer without keys",
    environment: { EARSHOT_JWT_ISSUER: "https://login.example.org" },
    code: "CONFIG_CONFLICT",
    message: "EARSHOT_JWT_ISSUER is about JSON web tokens, but no key verifies any. Give --jwt-keys too",
  },
  {
    what: "an ICE server that is a web page",
    file: 'iceServers: [{ url: "https://example.org" }]',
    code: "CONFIG_VALUE",
    message:
      'iceServers[0].url in earshot.yaml: expected a STUN or TURN URL such as stun:stun.example.org or turn:turn.example.org:3478?transport=udp, got "https://example.org". Example: iceServers: [{ url: stun:stun.example.org }]',
  },
  {
    what: "an ICE server with a key that is not known",
    file: 'iceServers: [{ url: "stun:stun.example.org", urls: [] }]',
    code: "CONFIG_VALUE",
    message:
      "iceServers[0] in earshot.yaml: expected no other keys than url, username and credential, got urls. Example: iceServers: [{ url: stun:stun.example.org }]",
  },
  {
    what: "* among other origins",
    flags: { corsOrigin: ["*", "https://example.org"] },
    code: "CONFIG_CONFLICT",
    message: "--cors-origin lists * together with other origins. Give * alone, or only the others",
  },
  {
    what: "a relay without transceivers",
    command: "relay",
    flags: { keys: "k" },
    code: "CONFIG_CONFLICT",
    message:
      "the directory is empty, so there is no transceiver to forward to. List them in the file given with --config: directory: [{ id: 1, address: 10.0.0.5, port: 7000 }], or give redis or directoryDns",
  },
  {
    what: "a transceiver twice",
    command: "relay",
    file: `${RELAY}directory: [{ id: 1, address: 10.0.0.5, port: 7000 }, { id: 1, address: 10.0.0.6, port: 7000 }]`,
    code: "CONFIG_CONFLICT",
    message: "the directory has transceiver 1 twice. Give each its own id",
  },
  {
    what: "a loopback trunk to a transceiver elsewhere",
    command: "relay",
    file: "keys: k\ndirectory: [{ id: 1, address: 127.0.0.1, port: 7000 }, { id: 2, address: 10.0.0.6, port: 7000 }]",
    code: "CONFIG_CONFLICT",
    message:
      "the trunk is on 127.0.0.1, loopback, which cannot reach transceiver 2 at 10.0.0.6:7000. Give --trunk an address of this host that can, such as 10.0.0.4:0",
  },
  {
    what: "a trunk of the other family",
    command: "relay",
    file: `${RELAY}directory: [{ id: 1, address: "2001:db8::5", port: 7000 }]`,
    code: "CONFIG_CONFLICT",
    message:
      "the trunk is on 10.0.0.4, IPv4, which cannot reach transceiver 1 at [2001:db8::5]:7000. Give --trunk an address of that family",
  },
];

describe("bad input is refused:", () => {
  for (const { what, command = "start", code, message, ...sources } of BAD_INPUT) {
    test(what, () => {
      assert.throws(
        () => load(command, sources),
        (error) => {
          assert.ok(error instanceof EarshotError);
          assert.deepEqual({ code: error.code, message: error.message }, { code, message });
          return true;
        },
      );
    });
  }
});

describe("a listening address", () => {
  const interfaces = {
    lo: [{ address: "127.0.0.1" }, { address: "::1" }],
    eth0: [{ address: "192.0.2.2" }, { address: "2001:db8::2" }, { address: "fe80::2" }],
    eth1: [{ address: "169.254.7.7" }],
  };

  test("that is a wildcard becomes one ingress for each address of its family, without IPv6 link-local", () => {
    const listen = [
      { address: "0.0.0.0", port: 3478 },
      { address: "::", port: 3479 },
    ];
    assert.deepEqual(expandListen(listen, 5, interfaces), [
      { id: 5, address: "127.0.0.1", port: 3478 },
      { id: 6, address: "192.0.2.2", port: 3478 },
      { id: 7, address: "169.254.7.7", port: 3478 },
      { id: 8, address: "::1", port: 3479 },
      { id: 9, address: "2001:db8::2", port: 3479 },
    ]);
  });

  test("that comes twice counts once", () => {
    const listen = [
      { address: "192.0.2.2", port: 3478 },
      { address: "0.0.0.0", port: 3478 },
    ];
    assert.deepEqual(expandListen(listen, 1, { eth0: interfaces.eth0 }), [{ id: 1, address: "192.0.2.2", port: 3478 }]);
  });

  test("of a family that the host does not have is no ingress, and an error if nothing else is there", () => {
    const ipv4Only = { lo: [{ address: "127.0.0.1" }] };
    const both = [
      { address: "0.0.0.0", port: 1 },
      { address: "::", port: 1 },
    ];
    assert.deepEqual(expandListen(both, 1, ipv4Only), [{ id: 1, address: "127.0.0.1", port: 1 }]);
    assert.throws(() => expandListen(both.slice(1), 1, ipv4Only), {
      code: "CONFIG_LISTEN_NONE",
      message:
        "nothing to listen on: this host has no address of its own for [::]:1. Name an address that it has with --listen",
    });
  });

  test("has an ingress id of 16 bits", () => {
    assert.throws(() => expandListen([{ address: "0.0.0.0", port: 1 }], 65534, interfaces), {
      code: "CONFIG_INGRESS_IDS",
      message: "3 ingresses starting with id 65534 need ids past 65535. Start lower with --ingress-id",
    });
  });

  test("is told to clients unless it is loopback or link-local", () => {
    const listen = [{ address: "0.0.0.0", port: 3478 }];
    const told = reachableByClients(expandListen(listen, 1, interfaces), listen);
    assert.deepEqual(told, [{ address: "192.0.2.2", port: 3478 }]);
  });

  test("on loopback is told to clients if it was named, or nothing else is there", () => {
    const named = [
      { address: "127.0.0.1", port: 1 },
      { address: "192.0.2.2", port: 1 },
    ];
    assert.deepEqual(reachableByClients(expandListen(named, 1, interfaces), named), named);
    const wildcard = [{ address: "0.0.0.0", port: 1 }];
    const alone = expandListen(wildcard, 1, { lo: interfaces.lo });
    assert.deepEqual(reachableByClients(alone, wildcard), [{ address: "127.0.0.1", port: 1 }]);
  });
});
