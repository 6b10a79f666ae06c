import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/** A port that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * A port for each service: those from `first` on, or free ones for 0.
 * @throws naming every port that is taken, and by what it was wanted
 */
export async function claimPorts<Service extends string>(
  services: readonly Service[],
  first: number,
): Promise<Record<Service, number>> {
  const ports = {} as Record<Service, number>;
  const taken: string[] = [];
  for (const [i, service] of services.entries()) {
    ports[service] = first === 0 ? await freePort() : first + i;
    if (!(await isFree(ports[service]))) taken.push(`${ports[service]} (${service})`);
  }
  if (taken.length > 0)
    throw new Error(
      `taken by another program: port ${taken.join(', ')}; choose others with --port, or --port 0 for free ones`,
    );
  return ports;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const free = await Promise.race([
    once(server.listen(port, '127.0.0.1'), 'listening').then(() => true),
    once(server, 'error').then(() => false),
  ]).catch(() => false);
  if (free) await new Promise((resolve) => server.close(resolve));
  return free;
}
