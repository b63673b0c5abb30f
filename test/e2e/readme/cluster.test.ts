import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { codeBlocks, commandsIn } from '../../docs/markdown.ts'
import { MeshBench } from '../cli/mesh-process.ts'

const bench = new MeshBench()
afterAll(() => bench.dispose())

/** The arguments of each `mesh` in the block about several servers. */
async function commands(): Promise<string[][]> {
  const text = await readFile(join(import.meta.dirname, '../../../README.md'), 'utf8')
  const block = codeBlocks('README.md', text).find((block) => block.text.includes('mesh -- cluster'))
  return commandsIn(block as NonNullable<typeof block>).map((line) => line.replace('npm run mesh -- ', '').split(' '))
}

test('the README brings two peers together at two servers of a cluster', { timeout: 60_000 }, async () => {
  const [startCluster = [], ...chats] = await commands()
  const cluster = await bench.start(...startCluster, '--port', '0', '--json')
  const { servers } = await cluster.event('ready')
  // As the README has it but for the ports, which may be taken here.
  const origins = (servers as { origin: string }[]).map(({ origin }) => origin.replace('http:', 'mesh:'))
  const atFreePort = (word: string): string =>
    word.replace(/mesh:\/\/127\.0\.0\.1:460(\d)/, (_, index: string) => origins[Number(index)] ?? 'none')
  const [one, other] = await Promise.all(chats.map((args) => bench.start(...args.map(atFreePort), '--json')))
  if (!one || !other) throw new Error('the README starts two chats')
  await Promise.all([one.event('join'), other.event('join')])
  one.type('hello from the first\n')
  expect(await other.event('message')).toMatchObject({ text: 'hello from the first' })
  one.endInput()
  other.endInput()
  expect(await Promise.all([one.exited, other.exited])).toEqual([0, 0])
  cluster.type('quit\n')
  cluster.endInput()
  expect(await cluster.exited).toBe(0)
})
