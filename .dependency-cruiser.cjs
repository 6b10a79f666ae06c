// The import directions of docs/architecture.md. Each rule names what it protects.
const only = (name, comment, from, allowed) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from },
  to: { path: '^src/', pathNot: [from, ...allowed] },
});
const never = (name, comment, from, to) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from },
  to: { path: to },
});
const aws = 'node_modules/(@aws-sdk|@smithy)/';
const postgres = 'node_modules/(pg|pg-[a-z-]+|node-pg-migrate)/';
const shared = ['^src/(backoff|error-text|limited-log)\\.ts$'];

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      comment: 'A cycle has no bottom to start reading at.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    only('protocol-alone', 'Frames are read by browsers: no dependencies.', '^src/protocol/', []),
    never(
      'protocol-no-packages',
      'Frames are read by browsers: no packages either.',
      '^src/protocol/',
      'node_modules/|^node:',
    ),
    only('listener-alone', 'The Postgres side knows nothing of delivery.', '^src/listener/', [
      '^src/protocol/',
      ...shared,
    ]),
    never('listener-no-aws', 'The Postgres side must run without AWS.', '^src/listener/', aws),
    only('pusher-alone', 'The AWS side knows nothing of Postgres.', '^src/pusher/', [
      '^src/protocol/',
      '^src/connections/',
      ...shared,
    ]),
    never('pusher-no-postgres', 'The AWS side must not reach into Postgres.', '^src/(pusher|connections)/', postgres),
    only('connections-alone', 'Lambdas bundle this folder: keep it small.', '^src/connections/', [
      '^src/protocol/',
      ...shared,
    ]),
    only('client-protocol-only', 'The browser client ships alone.', '^src/client/', ['^src/protocol/']),
    never(
      'client-no-packages',
      'The browser client has no dependencies; the hook has React.',
      '^src/client/(?!react\\.ts$)',
      'node_modules/|^node:',
    ),
    never(
      'hook-only-react',
      'The browser client has no dependencies; the hook has React.',
      '^src/client/',
      'node_modules/(?!(@types/)?react/)|^node:',
    ),
    only('publisher-alone', 'Applications import it beside their own pg.', '^src/publisher/', []),
    never('publisher-no-packages', 'Applications import it: no packages.', '^src/publisher/', 'node_modules/|^node:'),
    only('lambdas-small', 'A Lambda bundles neither the relay nor pg.', '^src/lambdas/', [
      '^src/connections/',
      '^src/protocol/',
      '^src/error-text\\.ts$',
    ]),
    never('lambdas-no-postgres', 'A Lambda never opens a database connection.', '^src/lambdas/', postgres),
    {
      name: 'term-for-relay-only',
      comment: 'A term is led by the relay; tests and benchmarks reach into it, nothing else here does.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(term/|relay\\.ts|config\\.ts)' },
      to: { path: '^src/term/', dependencyTypesNot: ['type-only'] },
    },
    never('nothing-imports-main', 'main is the composition root.', '^src/', '^src/main\\.ts$'),
    {
      name: 'local-only-dynamically',
      comment: 'What rowcast dev starts is not in the image.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/local/' },
      to: { path: '^src/local/', dynamic: false },
    },
    {
      name: 'local-only-from-main-and-cli',
      comment: 'What rowcast dev starts is not in the image.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(main\\.ts|cli/|local/)' },
      to: { path: '^src/local/' },
    },
    {
      name: 'not-unresolvable',
      comment: 'Would fail at run time.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
};
