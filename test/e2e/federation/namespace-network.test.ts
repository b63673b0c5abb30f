import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { promisify } from 'node:util'
import { afterEach, describe, expect, test } from 'vitest'
import { namespacesMissing } from '../network/namespaces.ts'
import { NamespaceNetwork } from './namespace-network.ts'

const run = promisify(execFile)
const missing = await namespacesMissing()
let network: NamespaceNetwork | undefined

afterEach(() => network?.close())

/** A program that answers in the place of a server, until it is killed. */
const ECHO = 'require("net").createServer((socket) => socket.end("here")).listen(+process.argv[1], "0.0.0.0")'
/** A program that calls one, and says what it heard. */
const CALL = `const [host, port] = process.argv[1].split(":");
  const socket = require("net").connect({ host, port }).setTimeout(700, () => { console.log("nothing"); process.exit() });
  socket.on("data", (data) => console.log(String(data))).on("error", (error) => console.log(error.code))`

function program(network: NamespaceNetwork, server: number, script: string, argument: string): [string, string[]] {
  const [command = '', ...args] = [...network.launcher(server), process.execPath, '-e', script, argument]
  return [command, args]
}

async function call(network: NamespaceNetwork, from: number, to: number): Promise<string> {
  const { stdout } = await run(...program(network, from, CALL, network.route(from, to)))
  return stdout.trim()
}

describe.skipIf(missing !== undefined)(`network namespaces${missing === undefined ? '' : `: ${missing}`}`, () => {
  test('reach each other, lose every packet while they are cut, and go with their programs', async () => {
    network = await NamespaceNetwork.open(3)
    const echoes = [0, 1, 2].map((server) =>
      execFile(...program(network!, server, ECHO, String(network!.place(server).port))),
    )
    const ended = Promise.all(echoes.map((echo) => new Promise((resolve) => echo.once('exit', resolve))))
    const { hostname, port } = new URL(network.place(0).origin)
    const heard = async (): Promise<string> => {
      const { stdout } = await run(process.execPath, ['-e', CALL, `${hostname}:${port}`])
      return stdout.trim()
    }
    await expect.poll(() => call(network!, 0, 1)).toBe('here')
    await expect.poll(heard).toBe('here')
    await network.cut(0, 1)
    expect(
      await Promise.all([call(network, 0, 1), call(network, 1, 0), call(network, 0, 2), call(network, 2, 1)]),
    ).toEqual(['nothing', 'nothing', 'here', 'here'])
    expect(await heard()).toBe('here')
    await network.heal(0, 1)
    expect(await call(network, 0, 1)).toBe('here')
    await network.close()
    await ended
    expect((await readdir('/run/netns')).filter((name) => name.startsWith(`mesh-${process.pid}-`))).toEqual([])
  })

  test('of a run that crashed are removed by the next one', async () => {
    const { pid } = execFile(process.execPath, ['-e', ''])
    await run('ip', ['netns', 'add', `mesh-${pid}-0`])
    await expect.poll(() => run('kill', ['-0', String(pid)]).catch(() => 'gone')).toBe('gone')
    network = await NamespaceNetwork.open(1)
    expect(await readdir('/run/netns')).not.toContain(`mesh-${pid}-0`)
  })
})
