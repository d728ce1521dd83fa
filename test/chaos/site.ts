/**
 * A site as operators build one: two relays that share one address, behind a router that is their load balancer, and clients,
 * transceivers and Redis each on a host of its own. Relays answer clients with the shared address, whichever way that takes.
 */
import { type Host, ip, Network, nft } from "../kit/network.ts";

/** What clients send to. Each relay host has the address on its loopback; nobody else does (RFC 2544). */
export const VIP = "198.18.0.1";
export const VIP_PORT = 3478;
export const TRUNK_PORT = 7000;

/** Of the load's clients, whose addresses begin with 10. */
const CLIENTS = "10.64.0.0/10";
const UPPER_HALF = "10.96.0.0/11";
const UPPER_TABLE = 100;

/** Frames and messages by their first bytes, as nft counts bits from the UDP header. */
const FIRST_FRAME_IS_QUESTION = "@th,336,8 4";
const BINDING_REQUEST = "@th,64,16 1";

export class Site {
  readonly client: Host;
  readonly relays: readonly [Host, Host];
  readonly transceiver: Host;
  readonly redis: Host;

  private constructor(hosts: readonly [Host, Host, Host, Host, Host]) {
    const [client, first, second, transceiver, redis] = hosts;
    this.client = client;
    this.relays = [first, second];
    this.transceiver = transceiver;
    this.redis = redis;
  }

  /** Runs `body` with the hosts there and all traffic at the first relay, and takes everything down after it. */
  static async with<Result>(body: (site: Site) => Promise<Result>): Promise<Result> {
    const network = new Network();
    ip(`rule add from ${UPPER_HALF} lookup ${UPPER_TABLE}`);
    nft("add table ip site");
    for (const chain of ["questions", "checks"])
      nft(`add chain ip site ${chain} { type filter hook forward priority 0 ; }`);
    try {
      const hosts = [];
      for (const name of ["client", "relay-a", "relay-b", "transceiver", "redis"]) hosts.push(await network.host(name));
      const site = new Site(hosts as unknown as [Host, Host, Host, Host, Host]);
      site.client.ip(`route add local ${CLIENTS} dev lo`);
      ip(`route add ${CLIENTS} via ${site.client.address}`);
      for (const relay of site.relays) relay.ip(`address add ${VIP}/32 dev lo`);
      site.allTo(0);
      return await body(site);
    } finally {
      nft("delete table ip site");
      ip(`rule delete from ${UPPER_HALF} lookup ${UPPER_TABLE}`);
      await network.close();
    }
  }

  /** Every flow goes to this relay, and to the other when its link is down. */
  allTo(relay: 0 | 1): void {
    ip(`route replace ${VIP} via ${this.relays[relay].address}`);
    ip(`route replace ${VIP} via ${this.relays[1 - relay]!.address} metric 20`);
    this.#upperHalfTo(undefined);
  }

  /** Clients in the upper half of their network go to this relay, the others to the other. */
  upperHalfTo(relay: 0 | 1): void {
    ip(`route replace ${VIP} via ${this.relays[1 - relay]!.address}`);
    this.#upperHalfTo(relay);
  }

  /** Each flow goes where the hash of its addresses and ports says; `order` of the relays is what the hash chooses from. */
  spread(order: readonly [number, number]): void {
    const hops = order.map((relay) => `nexthop via ${this.relays[relay]!.address} weight 1`);
    ip(`route replace ${VIP} ${hops.join(" ")}`);
    this.#upperHalfTo(undefined);
  }

  /** No relay can ask the transceiver whose a path is. */
  silenceOwners(): void {
    nft(`add rule ip site questions udp dport ${TRUNK_PORT} ${FIRST_FRAME_IS_QUESTION} drop`);
  }
  askOwners(): void {
    nft("flush chain ip site questions");
  }

  /** What clients send to keep a path alive is lost; their media is not. */
  dropChecks(): void {
    nft(`add rule ip site checks ip daddr ${VIP} ${BINDING_REQUEST} drop`);
  }
  passChecks(): void {
    nft("flush chain ip site checks");
  }

  #upperHalfTo(relay: number | undefined): void {
    // Without an answer here the next table is asked.
    if (relay === undefined) ip(`route replace throw ${VIP} table ${UPPER_TABLE}`);
    else ip(`route replace ${VIP} via ${this.relays[relay]!.address} table ${UPPER_TABLE}`);
  }
}
