import { join } from 'node:path';
import fastifyStatic from '@fastify/static';
import Fastify, { type FastifyInstance } from 'fastify';
import { SignJWT } from 'jose';
import pg from 'pg';
import { serverRendered } from '../server-rendered/page.tsx';
import { listOrders, placeOrder } from './orders.ts';

export interface ServerOptions {
  readonly databaseUrl: string;
  /** Where browsers connect to: API Gateway's, or that of `rowcast dev`. */
  readonly websocketUrl: string;
  /** The one that Rowcast's `$connect` checks tokens with (JWT_SECRET). */
  readonly jwtSecret: string;
}

/** Who is signed in: an application of yours reads its session here. */
const CUSTOMER_ID = 7;

/** The API of the examples, and their pages as `vite build` made them. */
export function ordersServer(options: ServerOptions): FastifyInstance {
  const server = Fastify();
  const database = new pg.Pool({ connectionString: options.databaseUrl });
  server.addHook('onClose', () => database.end());

  server.get('/api/orders', () => listOrders(database, CUSTOMER_ID));
  server.post<{ Body: { item: string } }>('/api/orders', { schema: ORDER }, (request) =>
    placeOrder(database, CUSTOMER_ID, request.body.item),
  );
  /** For a WebSocket, as long as it takes to connect. */
  server.get('/api/token', () =>
    new SignJWT()
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(String(CUSTOMER_ID))
      .setExpirationTime('1h')
      .sign(new TextEncoder().encode(options.jwtSecret)),
  );
  server.get('/api/config', () => ({ websocketUrl: options.websocketUrl }));
  server.get('/server-rendered/', async (_, reply) => {
    reply.type('text/html');
    return serverRendered(await listOrders(database, CUSTOMER_ID), options.websocketUrl);
  });

  // A plain page is not built, and imports the package as it is.
  const folders = { '/': 'dist', '/plain/': 'plain', '/rowcast/': 'node_modules/rowcast/dist' };
  for (const [prefix, folder] of Object.entries(folders))
    server.register(fastifyStatic, {
      root: join(import.meta.dirname, '..', folder),
      prefix,
      decorateReply: prefix === '/',
    });
  return server;
}

const ORDER = {
  body: {
    type: 'object',
    required: ['item'],
    properties: { item: { type: 'string', minLength: 1, maxLength: 200 } },
  },
};
