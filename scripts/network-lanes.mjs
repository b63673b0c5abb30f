/**
 * `npm run test:federation` and `npm run test:links`: real servers and peers in network namespaces of their own, with lines that
 * break. Where namespaces cannot be had, the tests say why, and what can be is run on loopback instead.
 */
import { requireChromium } from './chromium.mjs'
import { runInForeground, runQuietly } from './process.mjs'

/** What cuts and slows the lines, and the Debian packages that have it. */
const TOOLS = ['ip', 'tc', 'nft']
const PACKAGES = ['iproute2', 'nftables']

/** @param {import('./verbs.mjs').VerbContext} context */
export async function testFederation({ root }) {
  await installTools()
  process.env.MESH_FEDERATION_LANE = '1'
  return await runInForeground('vitest', ['run', '--project', 'federation', 'test/e2e/federation'], { cwd: root })
}

/** @param {import('./verbs.mjs').VerbContext} context */
export async function testLinks({ root }) {
  await installTools()
  process.env.CHROME_PATH = await requireChromium()
  process.env.MESH_LINKS_LANE = '1'
  return await runInForeground('vitest', ['run', '--project', 'links', 'test/e2e/links'], { cwd: root })
}

/** Root on Debian and Ubuntu gets what is missing; everybody else is told by the tests. */
async function installTools() {
  const missing = await Promise.all(TOOLS.map(async (tool) => (await runQuietly(tool, ['-V'])).code === 127))
  if (process.platform !== 'linux' || process.getuid?.() !== 0 || !missing.includes(true)) return
  console.log(`Installing ${PACKAGES.join(' and ')} with apt`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', ...PACKAGES]]) {
    const { code, output } = await runQuietly('apt-get', args, { env })
    if (code !== 0) return console.log(`apt-get ${args.join(' ')} failed:\n${output.trimEnd()}`)
  }
}
