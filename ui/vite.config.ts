import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// The built files are kept with the sources, so their names stay and their bytes depend on nothing but sources and lock file.
// Nothing becomes a data: address, which the console's content security policy would refuse.
export default defineConfig({
  base: './',
  plugins: [svelte()],
  build: {
    outDir: '../src/skerry/console/static',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: false,
    target: 'es2022',
    rollupOptions: {
      output: {
        entryFileNames: 'assets/console.js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/console[extname]',
      },
    },
  },
});
