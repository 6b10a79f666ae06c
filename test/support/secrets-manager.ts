import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

/**
 * Speaks the protocol of Secrets Manager's GetSecretValue; there is no emulator of it among npm's
 * packages.
 */
export async function startSecretsManager(value: string) {
  const secrets = { url: '', value, asked: [] as string[] };
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const { SecretId } = JSON.parse(Buffer.concat(chunks).toString()) as { SecretId: string };
    secrets.asked.push(SecretId);
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' });
    response.end(JSON.stringify({ ARN: SecretId, Name: 'database', SecretString: secrets.value }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  secrets.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return secrets;
}
