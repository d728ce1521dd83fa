/**
 * Mends werift's DTLS client, for whoever imports this, in two points that real clients get right:
 *
 *   it takes a flight that the server sends again for a new one, and makes new keys that the server does not have
 *   (RFC 6347, section 4.2.2, has it drop messages that it has had);
 *   it numbers its data from 1 after a Finished that had a higher number, so that one datagram later on looks replayed.
 */
import { DtlsSocket } from "werift";

const FINISHED = 20;

/** Above any number that its Finished can have had. */
const FIRST_DATA_SEQUENCE = 1_000;

const seen = new WeakMap<DtlsSocket, Set<string>>();
const { handleFragmentHandshake } = DtlsSocket.prototype;

DtlsSocket.prototype.handleFragmentHandshake = function (messages) {
  const had = seen.get(this) ?? new Set();
  seen.set(this, had);
  const fresh = messages.filter(({ message_seq, fragment_offset }) => {
    const key = `${message_seq} ${fragment_offset}`;
    const isFresh = !had.has(key);
    had.add(key);
    return isFresh;
  });
  if (fresh.some(({ msg_type }) => msg_type === FINISHED)) {
    this.dtls.recordSequenceNumber = FIRST_DATA_SEQUENCE;
  }
  return handleFragmentHandshake.call(this, fresh);
};
