import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { scanConnections } from '../../src/connections/scan-feed.ts';
import { AwsClients } from '../../src/daemon/aws-clients.ts';
import { loadConfig } from '../../src/daemon/config.ts';
import { LOCAL_ENVIRONMENT } from '../../src/local/dev-environment.ts';

test('a table whose answer comes byte by byte fails its scan at a deadline', async () => {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.0' });
    const drip = setInterval(() => response.write(' '), 100);
    response.once('close', () => clearInterval(drip));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const own = { ...process.env };
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  Object.assign(process.env, { ...LOCAL_ENVIRONMENT, AWS_ENDPOINT_URL_DYNAMODB: endpoint });
  onTestFinished(() => {
    process.env = own;
    server.closeAllConnections();
    server.close();
  });
  const clients = new AwsClients(
    loadConfig({
      ...LOCAL_ENVIRONMENT,
      DATABASE_URL: 'postgres://localhost/app',
      WEBSOCKET_ENDPOINT: 'http://127.0.0.1:1/local',
    }),
  );
  await expect(
    scanConnections(clients.table, Date.now(), new AbortController().signal),
  ).rejects.toThrow('no whole answer within 10000 ms');
  clients.destroy();
});
