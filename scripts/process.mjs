/** Starting other programs: quietly with their output kept, or in the foreground. Both pass signals on. */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'

/** @typedef {{ cwd?: string, env?: NodeJS.ProcessEnv }} RunOptions */

const FORWARDED_SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])

/**
 * Runs a program to its end and keeps what it printed (stdout and stderr, interleaved as they came).
 * A program that cannot be started at all reports code 127 and the reason as its output, as a shell would.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<{ code: number, output: string }>}
 */
export function runQuietly(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    const release = forwardSignals(child)
    /** @type {Buffer[]} */
    const chunks = []
    child.stdout.on('data', (chunk) => chunks.push(chunk))
    child.stderr.on('data', (chunk) => chunks.push(chunk))
    child.on('error', (error) => {
      release()
      resolve({ code: 127, output: `${command}: ${error.message}\n` })
    })
    child.on('close', (code, signal) => {
      release()
      resolve({ code: exitCodeOf(code, signal), output: Buffer.concat(chunks).toString('utf8') })
    })
  })
}

/**
 * Runs a program with this terminal as its own and resolves to its exit code (128 + n when signal n ended it).
 * Rejects when the program cannot be started.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<number>}
 */
export function runInForeground(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: 'inherit' })
    const release = forwardSignals(child)
    child.on('error', (error) => {
      release()
      reject(error)
    })
    child.on('exit', (code, signal) => {
      release()
      resolve(exitCodeOf(code, signal))
    })
  })
}

/**
 * Passes this process's signals on to a child until released. While a child runs, a signal ends the child and the
 * child's exit ends this process, so nothing is left running behind. In a terminal Ctrl-C reaches the child by itself:
 * passed on as well, it would look like the second, impatient one.
 *
 * @param {import('node:child_process').ChildProcess} child
 */
function forwardSignals(child) {
  const forward = (/** @type {NodeJS.Signals} */ signal) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
  }
  for (const signal of FORWARDED_SIGNALS) process.on(signal, forward)
  return () => {
    for (const signal of FORWARDED_SIGNALS) process.off(signal, forward)
  }
}

/**
 * @param {number | null} code
 * @param {NodeJS.Signals | null} signal
 */
function exitCodeOf(code, signal) {
  return signal === null ? (code ?? 1) : 128 + constants.signals[signal]
}
