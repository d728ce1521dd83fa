/**
 * Every answer of the HTTP side that is not a success: {"error":{"code","message"}} with a stable code. Nothing here
 * tells a caller more than a code that we chose and a message that was written for them.
 */
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { EarshotError } from "../earshot-error.ts";

export const OVERLOADED_RETRY_AFTER_SECONDS = 2;

const STATUS: Readonly<Record<string, number>> = {
  CONTENT_TYPE: 415,
  SDP_INVALID: 400,
  SDP_UNSUPPORTED: 422,
  FRAGMENT_INVALID: 400,
  AUTH_REQUIRED: 401,
  AUTH_REFUSED: 401,
  CALL_UNKNOWN: 404,
  PRECONDITION_FAILED: 412,
  PRECONDITION_REQUIRED: 428,
  OVERLOADED: 503,
  CHILD_GONE: 503,
  CHILD_SILENT: 503,
};

/** RFC 6750, section 3: who brings no token at all is told no error. */
const CHALLENGE: Readonly<Record<string, string>> = {
  AUTH_REQUIRED: 'Bearer realm="earshot"',
  AUTH_REFUSED: 'Bearer realm="earshot", error="invalid_token"',
};

/** What Fastify itself refuses, by its code. */
const FASTIFY_ERRORS: Readonly<Record<string, readonly [status: number, code: string, message: string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: [413, "BODY_TOO_LARGE", "the body is larger than 64 KiB, or 16 KiB for an SDP fragment"],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    415,
    "CONTENT_TYPE",
    "expected a body of content-type application/sdp, or for PATCH application/trickle-ice-sdpfrag",
  ],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [400, "BAD_REQUEST", "the body is not as long as content-length says"],
  FST_ERR_BAD_URL: [400, "BAD_REQUEST", "the address cannot be decoded"],
  FST_ERR_MAX_PARAM_LENGTH: [404, "NOT_FOUND", "there is nothing at this address"],
};

export function errorBody(code: string, message: string): { error: { code: string; message: string } } {
  return { error: { code, message } };
}

export function handleError(error: FastifyError | Error, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = FASTIFY_ERRORS[(error as FastifyError).code];
  if (known !== undefined) return reply.code(known[0]).send(errorBody(known[1], known[2]));
  if (error instanceof EarshotError) {
    const status = STATUS[error.code];
    if (status === 401) reply.header("www-authenticate", CHALLENGE[error.code] ?? "Bearer");
    if (status === 503) reply.header("retry-after", String(OVERLOADED_RETRY_AFTER_SECONDS));
    if (status !== undefined) return reply.code(status).send(errorBody(error.code, error.message));
  }
  const status = (error as FastifyError).statusCode;
  if (status !== undefined && status >= 400 && status < 500) {
    return reply.code(status).send(errorBody("BAD_REQUEST", STATUS_CODES[status] ?? "the request cannot be read"));
  }
  request.log.error({ err: error, route: request.routeOptions.url }, "unexpected error in a request");
  return reply.code(500).send(errorBody("INTERNAL", "unexpected error; the server's log has the details"));
}

export function handleNotFound(_request: FastifyRequest, reply: FastifyReply): FastifyReply {
  return reply.code(404).send(errorBody("NOT_FOUND", "there is nothing at this address"));
}

/** What Node's parser could not read as HTTP: no request exists, so the answer is written by hand. */
export function handleClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
  const body = JSON.stringify(errorBody("BAD_REQUEST", STATUS_CODES[status] ?? "the request cannot be read"));
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
