/**
 * Keeps the HTTP connections of a server within a number. Who opens many and never ends a request would keep all others out, health
 * checks included; so for one too many the one goes that has waited longest since it was opened or got an answer.
 */
import type { Server } from "node:http";
import type { Socket } from "node:net";

export function limitConnections(server: Server, most: number, onEvicted: () => void): void {
  /** In the order of opening and of answers. */
  const connections = new Set<Socket>();
  server.on("connection", (socket) => {
    const [longest] = connections;
    if (connections.size >= most && longest !== undefined) {
      connections.delete(longest);
      longest.destroy();
      onEvicted();
    }
    connections.add(socket);
    socket.once("close", () => connections.delete(socket));
  });
  server.on("request", ({ socket }, response) => {
    response.once("finish", () => {
      if (connections.delete(socket)) connections.add(socket);
    });
  });
}
