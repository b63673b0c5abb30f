/**
 * `npm start`: a signaling server, the page it serves and a resident peer, in one process, until Ctrl-C.
 *
 * Exit codes: 0 after Ctrl-C or SIGTERM, 1 when something fails, 2 for a command line that makes no sense.
 */
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parseStartOptions, type StartOptions, USAGE, UsageError } from './host/options.ts'
import type { Playground } from './host/playground.ts'
import { Terminal } from './host/terminal.ts'

/** A second Ctrl-C after this long means "now"; npm and the terminal may deliver the first one twice. */
const IMPATIENT_MS = 500

const terminal = new Terminal({
  write: (text) => process.stdout.write(text),
  now: () => new Date(),
  colour: process.stdout.isTTY === true && process.env.NO_COLOR === undefined,
})

process.exitCode = await main()

async function main(): Promise<number> {
  let options: StartOptions
  try {
    options = parseStartOptions(process.argv.slice(2))
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    console.error(`${error.message}\n\n${USAGE}`)
    return 2
  }
  if (options.help) {
    console.log(USAGE)
    return 0
  }
  const stopped = stopRequest()
  try {
    const playground = await start(options)
    terminal.welcome({ url: playground.url, party: options.party, resident: playground.residentId })
    await stopped
    terminal.note('closing')
    await playground.close()
    return 0
  } catch (error) {
    console.error(describeFailure(error, options))
    return 1
  } finally {
    // The page's connections may be kept alive by browsers; nothing here waits for them.
    process.removeAllListeners('SIGINT').removeAllListeners('SIGTERM')
  }
}

async function start(options: StartOptions): Promise<Playground> {
  // The server and the SDK are loaded only once the command line makes sense; kept compiled, they load in half the time.
  enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/mesh-node', import.meta.url)))
  const { startPlayground } = await import('./host/playground.ts')
  return startPlayground(options, {
    resident: (event) => terminal.event(event),
    note: (text) => terminal.note(text),
    ...(options.verbose && { log: (line) => process.stderr.write(line) }),
  })
}

/** Resolves when somebody asks the program to end; asked again later, it ends at once. */
function stopRequest(): Promise<void> {
  return new Promise((resolve) => {
    let askedAt: number | undefined
    const ask = () => {
      const now = performance.now()
      askedAt ??= now
      if (now - askedAt > IMPATIENT_MS) process.exit(130)
      resolve()
    }
    process.on('SIGINT', ask).on('SIGTERM', ask)
  })
}

function describeFailure(error: unknown, { host, port }: StartOptions): string {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
  if (code === 'EADDRINUSE') {
    return (
      `Port ${port} on ${host} is taken; is the playground running already?\n` +
      `Choose another port: npm start -- --port ${port === 65_535 ? 4_600 : port + 1}`
    )
  }
  if (code === 'EACCES') {
    return `Port ${port} on ${host} needs more rights. Choose another port: npm start -- --port 4600`
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return `This machine has no address "${host}". Choose another: npm start -- --host 127.0.0.1`
  }
  return error instanceof Error ? `The playground could not start: ${error.message}` : String(error)
}
