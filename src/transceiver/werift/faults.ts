/**
 * Tells errors that come from inside werift from our own. werift leaves rejections of its own unhandled, and a client
 * can cause some; they are confined to the task that they happened in. Our own errors are bugs, and must stay fatal.
 */

/** Frames that come before the one that matters: Node's own, as in `node:buffer` when werift reads past an end. */
const NODE_FRAME = /\(?node:/;
const WERIFT_FRAME = /[\\/]node_modules[\\/]werift[\\/]/;
const PACKAGE_FRAME = /[\\/]node_modules[\\/]/;

/** Whether it was thrown by werift, or by a package or by Node that werift had called. */
export function isWeriftFault(reason: unknown): boolean {
  if (!(reason instanceof Error) || reason.stack === undefined) return false;
  for (const line of reason.stack.split("\n")) {
    if (!line.startsWith("    at ")) continue;
    if (WERIFT_FRAME.test(line)) return true;
    if (!NODE_FRAME.test(line) && !PACKAGE_FRAME.test(line)) return false;
  }
  return false;
}
