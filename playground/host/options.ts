import { parseArgs } from 'node:util'

export interface StartOptions {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** Name of the party the page opens, and where the resident is. */
  readonly party: string
  /** Print the server's log. */
  readonly verbose: boolean
  readonly help: boolean
}

export const DEFAULT_PORT = 4_600
const DEFAULT_HOST = '127.0.0.1'
const DEFAULT_PARTY = 'playground'
/** As for every party's name (partyFromName of the core). */
const MAX_PARTY_BYTES = 256

export const USAGE = `Starts a signaling server, a page to try MESH with, and a resident peer to talk to.

Usage: npm start -- [options]

  --port <number>   port to listen on, 0 for any free one (default ${DEFAULT_PORT})
  --host <address>  address to bind to (default ${DEFAULT_HOST}, which only this machine reaches)
  --party <name>    party the page opens and the resident joins (default "${DEFAULT_PARTY}")
  --verbose         also print the server's log
  --help            print this`

/** The command line does not say what to do; the message is for whoever typed it. */
export class UsageError extends Error {}

/** Reads the command line. Throws UsageError. */
export function parseStartOptions(args: readonly string[]): StartOptions {
  const values = parse(args)
  const port = values.port === undefined ? DEFAULT_PORT : Number(values.port)
  if (values.port === '' || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new UsageError(`--port must be a whole number from 0 to 65535, not "${values.port}"`)
  }
  const party = (values.party ?? DEFAULT_PARTY).normalize('NFC')
  if (party === '' || Buffer.byteLength(party) > MAX_PARTY_BYTES || party.includes('/')) {
    throw new UsageError(`--party must be a name of 1 to ${MAX_PARTY_BYTES} bytes without "/"`)
  }
  const host = values.host ?? DEFAULT_HOST
  if (host === '') throw new UsageError('--host must be an address or a host name')
  return { host, port, party, verbose: values.verbose, help: values.help }
}

function parse(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      strict: true,
      options: {
        host: { type: 'string' },
        port: { type: 'string' },
        party: { type: 'string' },
        verbose: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false, short: 'h' },
      },
    })
    return values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}
