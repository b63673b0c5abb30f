import { Worker } from 'node:worker_threads'
import type { MutationReport, MutationTask } from './mutation-worker.ts'
import type { Failure } from './simulation.ts'
import type { SourceMutation } from './source-mutation.ts'

/**
 * Makes a mistake in a thread of its own and runs seeds there; resolves to what noticed it first, or to undefined.
 * @throws Error when the text of the mutation is not in its file, nothing loads the file, or the runs take too long
 */
export async function tryMutation(
  simulation: string,
  mutation: SourceMutation,
  timeoutMs: number,
): Promise<Failure | undefined> {
  const task: MutationTask = { simulation, mutation }
  const worker = new Worker(new URL('./mutation-worker.ts', import.meta.url), {
    workerData: task,
    execArgv: ['--conditions=source'],
  })
  let timer: ReturnType<typeof setTimeout> | undefined
  try {
    const report = await new Promise<MutationReport>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
      timer = setTimeout(() => reject(new Error(`no end after ${timeoutMs} ms`)), timeoutMs)
    })
    if (!report.applied) throw new Error(`nothing loads ${mutation.file}`)
    return report.failure
  } finally {
    clearTimeout(timer)
    await worker.terminate()
  }
}
