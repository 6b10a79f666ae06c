/**
 * The subprotocol of Rowcast's own; a client that sends its token as a second one gets this one
 * answered.
 */
export const SUBPROTOCOL = 'rowcast';

/**
 * A browser does not tell with which status a handshake failed. A client that offers these as well
 * may be let in by one of them, only to read it: `$connect` does so where EXPLAIN_REFUSALS is on.
 */
export const REFUSALS = ['401', '403', '429', '500'].map((status) => `${SUBPROTOCOL}.${status}`);

/** The status that a subprotocol stands for; undefined for any other. */
export function refusalIn(subprotocol = ''): string | undefined {
  return REFUSALS.includes(subprotocol) ? subprotocol.slice(-3) : undefined;
}

/**
 * A client sends this to keep its connection and to learn whether it is alive: API Gateway answers
 * it, by a MOCK route.
 */
export const PING = '{"action":"ping"}';
export const PONG = '{"type":"pong"}';

/**
 * The answer to anything else that a client sends; another MOCK route. Both ids are API Gateway's,
 * for its logs. (They may be its variables: deploy/ makes a template of it.)
 */
export function unknownAction(connectionId: string, requestId: string): string {
  return `{"type":"ERROR","message":"unknown action; a client sends {\\"action\\":\\"ping\\"}, and {\\"action\\":\\"rooms\\",\\"rooms\\":\\"a,b\\"}","connectionId":"${connectionId}","requestId":"${requestId}"}`;
}
