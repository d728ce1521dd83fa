/** The backend that sends everything back: each frame on its m-line, each message on its channel. */
import type { Backend } from "./backend.ts";

export const echoBackend: Backend = {
  name: "echo",
  open: (call) => ({
    frame: (frame) => call.sendFrame(frame),
    message: (channel, data) => {
      call.sendMessage(channel.id, data);
    },
    keyframeRequested: (line) => call.requestKeyframe(line),
  }),
};
