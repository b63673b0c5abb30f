#!/usr/bin/env node
/** The `mesh` program: `node -C source cli/main.ts <command>`, or `mesh <command>` where the package is installed. */
import { runCli } from './cli.ts'

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // Whoever read the output has enough (`mesh peers our-party | head -1`): that is no failure.
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
}

process.exitCode = await runCli(process.argv.slice(2), process)
