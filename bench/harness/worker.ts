/**
 * The child's half of the bench's process boundary. A worker serves named methods over Node's IPC channel, one answer per
 * call, and every worker can be asked what it has used so far. See process.ts for the parent's half.
 */

/** What one process has consumed, as the process itself counts it. */
export interface Usage {
  /** User and system CPU time since the process started, in microseconds (`process.cpuUsage()`). */
  readonly cpuUs: number
  /** Resident set size in bytes. */
  readonly rssBytes: number
  /** Live JavaScript heap in bytes. */
  readonly heapBytes: number
  /** Buffers and other memory held outside the heap, in bytes. */
  readonly externalBytes: number
}

export interface WorkerCall {
  readonly id: number
  readonly method: string
  readonly argument: unknown
}

export interface WorkerAnswer {
  readonly id: number
  readonly value?: unknown
  readonly error?: string
}

/** Anything a structured clone carries may go in and come out. */
export type WorkerMethods = Record<string, (argument: never) => unknown>

/**
 * Answers calls of the parent until it disconnects, which ends the process. `usage` is served for every worker: pass
 * `{ collect: true }` to run the garbage collector first (needs `--expose-gc`), so that memory numbers count what is held.
 */
export function serveWorker(methods: WorkerMethods): void {
  const send = process.send?.bind(process)
  if (!send) throw new Error('this file is started by the bench, as a child process')
  const table: WorkerMethods = { usage, ...methods }
  process.on('message', async (call: WorkerCall) => {
    const answer = await answerCall(table, call)
    if (process.connected) send(answer)
  })
  process.on('disconnect', () => process.exit(0))
}

async function answerCall(methods: WorkerMethods, call: WorkerCall): Promise<WorkerAnswer> {
  const method = methods[call.method]
  if (!method) return { id: call.id, error: `no method ${call.method}` }
  try {
    return { id: call.id, value: await method(call.argument as never) }
  } catch (error) {
    return { id: call.id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

async function usage(argument?: { collect?: boolean }): Promise<Usage> {
  if (argument?.collect) await collectGarbage()
  const cpu = process.cpuUsage()
  const memory = process.memoryUsage()
  return {
    cpuUs: cpu.user + cpu.system,
    rssBytes: memory.rss,
    heapBytes: memory.heapUsed,
    externalBytes: memory.external,
  }
}

/** Twice, with a turn between: finalizers of the first pass free what the second one can return. */
async function collectGarbage(): Promise<void> {
  const collect = (globalThis as { gc?: () => void }).gc
  if (!collect) throw new Error('the garbage collector is not exposed in this process')
  for (let pass = 0; pass < 2; pass++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
