import { playwright } from '@vitest/browser-playwright'
import { configDefaults, defineConfig } from 'vitest/config'
import { findChromium } from './scripts/chromium.mjs'

const BROWSER_TESTS = '**/*.browser.test.ts'
const END_TO_END_TESTS = 'test/e2e/**/*.test.ts'
/** End to end, but without a browser. */
const FEDERATION_TESTS = 'test/e2e/federation/*.test.ts'
/** Minutes of real transfers, for a lane of their own. */
const LINKS_TESTS = 'test/e2e/links/*.test.ts'
const NEVER = [...configDefaults.exclude, '**/dist/**', 'gen/**', 'test/.artifacts/**']

/** No sandbox (containers, root), no GPU, and none of the calls home a fresh profile makes. */
const CHROMIUM_ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
]

/** Named so that Vite bundles them before the first test: one found later would reload the page under a test. */
const BROWSER_DEPENDENCIES = [
  '@bufbuild/protobuf',
  '@bufbuild/protobuf/codegenv2',
  '@bufbuild/protobuf/wire',
  '@bufbuild/protobuf/wkt',
  '@connectrpc/connect',
  '@connectrpc/connect-web',
  '@noble/hashes/blake2.js',
  'hpke',
]

const chromiumPath = findChromium()

export default defineConfig({
  test: {
    projects: [
      {
        // Workspace packages resolve to their sources, as `node -C source` does.
        ssr: { resolve: { conditions: ['source', 'module', 'node', 'development|production'] } },
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: [...NEVER, BROWSER_TESTS, END_TO_END_TESTS],
          execArgv: ['--conditions=source'],
          maxWorkers: '100%', // the default leaves a core idle, which is half of a small machine
          // A bound on hanging, not on speed: machines that run tests are busy.
          testTimeout: 30_000,
          hookTimeout: 30_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        resolve: { conditions: ['source', 'browser', 'module', 'development|production'] },
        optimizeDeps: { include: BROWSER_DEPENDENCIES },
        test: {
          name: 'browser',
          include: [BROWSER_TESTS],
          exclude: NEVER,
          globalSetup: ['test/setup/require-chromium.ts'],
          sequence: { groupOrder: 1 },
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({
              launchOptions: { args: CHROMIUM_ARGS, ...(chromiumPath && { executablePath: chromiumPath }) },
            }),
            instances: [{ browser: 'chromium' }],
          },
        },
      },
      {
        ssr: { resolve: { conditions: ['source', 'module', 'node', 'development|production'] } },
        test: {
          name: 'e2e',
          include: [END_TO_END_TESTS],
          exclude: [...NEVER, BROWSER_TESTS, FEDERATION_TESTS, LINKS_TESTS],
          globalSetup: ['test/setup/require-chromium.ts'],
          execArgv: ['--conditions=source'],
          // Real processes and pages: one file at a time keeps timings meaningful on small machines.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 2 },
        },
      },
      {
        ssr: { resolve: { conditions: ['source', 'module', 'node', 'development|production'] } },
        test: {
          name: 'federation',
          include: [FEDERATION_TESTS],
          exclude: NEVER,
          execArgv: ['--conditions=source'],
          fileParallelism: false, // for the same reason
          testTimeout: 180_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 3 },
        },
      },
      {
        ssr: { resolve: { conditions: ['source', 'module', 'node', 'development|production'] } },
        test: {
          name: 'links',
          include: [LINKS_TESTS],
          exclude: NEVER,
          globalSetup: ['test/setup/require-chromium.ts'],
          execArgv: ['--conditions=source'],
          fileParallelism: false, // for the same reason
          testTimeout: 240_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 4 },
        },
      },
    ],
  },
})
