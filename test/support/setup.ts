import { setMaxListeners } from 'node:events';

// The SDK warns on Node 20 that releases from 2027 on need a newer one; not news in every test.
process.removeAllListeners('warning');
setMaxListeners(0);
