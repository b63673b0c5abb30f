import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const SCRIPT = `
  const { connect, createHardened, expectAlive } = await import(process.argv[1])
  const pair = await connect(await createHardened(), await createHardened())
  await expectAlive(pair)
  pair.left.close()
  pair.right.close()
  const never = await createHardened()
  never.createDataChannel('mesh', { negotiated: true, id: 0, ordered: true })
  await never.setLocalDescription(await never.createOffer())
  never.close()
  console.log('closed')
`

test('Node exits by itself when every connection has been closed', async () => {
  const fixture = fileURLToPath(new URL('./loopback-pair.fixture.ts', import.meta.url))
  const child = spawn(process.execPath, ['-C', 'source', '--input-type=module', '-e', SCRIPT, fixture], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let closedAtMs = Number.NaN
  child.stdout.on('data', (text: Buffer) => {
    if (text.toString().includes('closed')) closedAtMs = performance.now()
  })
  const code = await new Promise<number | null>((resolve) => child.on('exit', resolve))
  expect(code).toBe(0)
  // Timers of werift's that were left running would hold the process for seconds.
  expect(performance.now() - closedAtMs).toBeLessThan(1000)
}, 20_000)
