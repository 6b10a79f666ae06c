/**
 * The event of a WebSocket route's Lambda, as far as it is used here
 * (https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-route-keys-connect-disconnect.html).
 */
export interface WebSocketEvent {
  readonly requestContext: {
    readonly connectionId: string;
    /** Epoch milliseconds. */
    readonly connectedAt: number;
    readonly identity?: { readonly sourceIp?: string };
  };
  /** Given to `$connect` only; names as the client wrote them. */
  readonly headers?: Readonly<Record<string, string | undefined>> | null;
  readonly queryStringParameters?: Readonly<Record<string, string | undefined>> | null;
}

/** On `$connect`, a status other than 2xx refuses the connection. */
export interface WebSocketAnswer {
  readonly statusCode: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export type WebSocketHandler = (event: WebSocketEvent) => Promise<WebSocketAnswer>;
