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
const shared = ['^src/(backoff|clock|error-text|events|limited-log|loopback|service)\\.ts$'];

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
    only(
      'postgres-alone',
      'Sessions and migrations know nothing of what is read by them.',
      '^src/postgres/',
      [...shared],
    ),
    only(
      'listener-alone',
      'Notifications and locks know nothing of what is read.',
      '^src/listener/',
      ['^src/postgres/', ...shared],
    ),
    only('log-alone', 'The log is read and committed without knowing of delivery.', '^src/log/', [
      '^src/(listener|postgres|protocol)/',
      ...shared,
    ]),
    never('log-no-aws', 'The Postgres side must run without AWS.', '^src/(log|listener)/', aws),
    only('pusher-alone', 'Delivery knows nothing of Postgres, or of who posts.', '^src/pusher/', [
      '^src/protocol/',
      '^src/connections/',
      ...shared,
    ]),
    never(
      'pusher-no-postgres',
      'The delivery side must not reach into Postgres.',
      '^src/(pusher|gateway|connections)/',
      postgres,
    ),
    never('pusher-no-aws', 'API Gateway is one gateway of several.', '^src/(pusher|relay)/', aws),
    only(
      'presence-alone',
      'Who is online is a question to connections, not to the log.',
      '^src/presence/',
      ['^src/(connections|postgres|protocol|pusher)/', ...shared],
    ),
    only('gateway-alone', 'It implements the gateway that delivery asks for.', '^src/gateway/', [
      '^src/pusher/',
      ...shared,
    ]),
    only('connections-alone', 'Lambdas bundle this folder: keep it small.', '^src/connections/', [
      '^src/protocol/',
      ...shared,
    ]),
    only('client-protocol-only', 'The browser client ships alone.', '^src/client/', [
      '^src/protocol/',
    ]),
    only('list-alone', 'A list needs a feed, and no more than its types.', '^src/list/', [
      '^src/(client|protocol)/',
    ]),
    only('react-alone', 'React is a way to use the client and its lists.', '^src/react/', [
      '^src/(client|list)/',
    ]),
    only('tanstack-alone', 'TanStack’s stores show what a list has.', '^src/tanstack/', [
      '^src/list/',
    ]),
    only('testing-alone', 'The real client, on a socket that is none.', '^src/testing/', [
      '^src/client/',
    ]),
    never(
      'client-no-packages',
      'The browser client and its lists have no dependencies.',
      '^src/(client|list|testing)/',
      'node_modules/|^node:',
    ),
    {
      name: 'tanstack-types-only',
      comment: 'TanStack’s packages are the application’s: no code of them.',
      severity: 'error',
      from: { path: '^src/tanstack/' },
      to: { path: 'node_modules/', dependencyTypesNot: ['type-only'] },
    },
    never(
      'react-only-react',
      'The hooks have React, which is the application’s.',
      '^src/react/',
      'node_modules/(?!(@types/)?react/)|^node:',
    ),
    only('publisher-alone', 'Applications import it beside their own pg.', '^src/publisher/', []),
    never(
      'publisher-no-packages',
      'Applications import it: no packages.',
      '^src/publisher/',
      'node_modules/|^node:',
    ),
    only('lambdas-small', 'A Lambda bundles neither the relay nor pg.', '^src/lambdas/', [
      '^src/connections/',
      '^src/protocol/',
      '^src/(error-text|loopback)\\.ts$',
    ]),
    never(
      'lambdas-no-postgres',
      'A Lambda never opens a database connection.',
      '^src/lambdas/',
      postgres,
    ),
    {
      name: 'relay-for-daemon-only',
      comment: 'The daemon runs the relay; elsewhere only its types are known.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(relay|daemon)/' },
      to: { path: '^src/relay/', dependencyTypesNot: ['type-only'] },
    },
    never('nothing-imports-main', 'main is the entry.', '^src/', '^src/main\\.ts$'),
    {
      name: 'local-only-dynamically',
      comment: 'What rowcast dev starts is not in the image.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/local/' },
      to: { path: '^src/local/', pathNot: '/dev-(folder|environment)\\.ts$', dynamic: false },
    },
    {
      name: 'local-only-from-cli',
      comment: 'What rowcast dev starts is not in the image.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(cli|local)/' },
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
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
};
