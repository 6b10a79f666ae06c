/** `npm start`: a `rowcast dev` with the table of the examples, and their server beside it. */
import { startExamples } from './api/start.ts';

const { url, stop } = await startExamples({ port: 3000 });
console.log(`
  plain page           ${url}plain/
  React                ${url}react/
  React Query          ${url}react-query/
  TanStack DB          ${url}tanstack-db/
  rendered by a server ${url}server-rendered/
`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stop());
