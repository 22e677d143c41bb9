import { defineConfig } from 'vite';

// The page is embedded in development builds of the server (internal/dev), which serve it at / and its files below /assets.
export default defineConfig({
  resolve: { dedupe: ['ts-mls'] },
  build: {
    outDir: '../../internal/dev/site',
    emptyOutDir: false, // unbuilt.html stays there; .ci/playground removes what was built before
    modulePreload: false,
    chunkSizeWarningLimit: 1000,
    // What ts-mls loads for other cipher suites than the one that is used here.
    rolldownOptions: { external: [/^@hpke\/(chacha20poly1305|dhkem-x448|ml-kem|hybridkem-x-wing)/, /^@noble\/post-quantum/] },
  },
  server: { proxy: { '/xrpc': 'http://localhost:3000', '/dev': 'http://localhost:3000', '/.well-known': 'http://localhost:3000' } },
});
