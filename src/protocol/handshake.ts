/** The subprotocol of Rowcast's own; a client that sends its token as a second one gets this one answered. */
export const SUBPROTOCOL = 'rowcast';

/** What a client sends to keep its connection and to learn whether it is alive: API Gateway answers it, by a MOCK route. */
export const PING = '{"action":"ping"}';
export const PONG = '{"type":"pong"}';
