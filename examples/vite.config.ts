import { defineConfig } from 'vite';

export default defineConfig({
  build: {
    target: 'es2022',
    rollupOptions: {
      input: [
        'react/index.html',
        'react-query/index.html',
        'tanstack-db/index.html',
        'server-rendered/main.tsx',
      ],
      output: {
        // The server names it in its page.
        entryFileNames: ({ facadeModuleId }) =>
          facadeModuleId?.endsWith('server-rendered/main.tsx')
            ? 'assets/server-rendered.js'
            : 'assets/[name]-[hash].js',
      },
      // 'use client' is for frameworks; what a server renders here is rendered from its sources.
      onwarn: (warning, warn) => warning.code !== 'MODULE_LEVEL_DIRECTIVE' && warn(warning),
    },
  },
});
