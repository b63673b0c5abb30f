import { startWorker, type Worker } from '../../harness/process.ts'
import { type Contender, interleave, type Measurements } from '../../harness/rounds.ts'
import type { BenchContext, Scenario, ScenarioResult } from '../../harness/scenario.ts'
import { pairedRatio } from '../../harness/stats.ts'
import type { NodeRtcName } from '../../systems/rtc/node-rtc.ts'
import type { RawSignal } from '../../systems/rtc/raw-rtc.ts'
import { WRITE_BYTES } from './transfer.ts'

const BYTES_PER_MB = 1_000_000
const SIGNAL_POLL_MS = 5

/** (d) Bulk throughput of a channel on the direct path, against a bare data channel of the same stack. */
export const channelScenario: Scenario = { name: 'channel', run }

/** Two connected processes, ready to move bytes from one to the other. */
interface Pair {
  readonly name: string
  readonly sender: Worker
  readonly receiver: Worker
  /** The worker method that sends. */
  readonly send: string
}

async function run(context: BenchContext): Promise<ScenarioResult> {
  const totalBytes = WRITE_BYTES * (context.quick ? 500 : 1_500)
  const pairs: Pair[] = []
  try {
    pairs.push(await openRawPair('stock', context), await openRawPair('hardened', context))
    const measured = await interleave(
      pairs.map((pair): Contender => ({ name: pair.name, measure: () => measure(pair, totalBytes) })),
      { rounds: context.quick ? 3 : 7, discard: 1, context, label: 'channel' },
    )
    return describe(measured, totalBytes)
  } finally {
    await Promise.all(pairs.flatMap((pair) => [pair.sender.stop(), pair.receiver.stop()]))
  }
}

async function measure(pair: Pair, totalBytes: number): Promise<Record<string, number>> {
  const before = await usageOf(pair)
  await pair.receiver.call('expect', { totalBytes })
  const [elapsedMs] = await Promise.all([
    pair.receiver.call<number>('received'),
    pair.sender.call(pair.send, { totalBytes }),
  ])
  const after = await usageOf(pair)
  const megabytes = totalBytes / BYTES_PER_MB
  return {
    megabytesPerSecond: megabytes / (elapsedMs / 1000),
    sendCpuMs: (after.sendUs - before.sendUs) / 1000 / megabytes,
    receiveCpuMs: (after.receiveUs - before.receiveUs) / 1000 / megabytes,
  }
}

async function usageOf(pair: Pair): Promise<{ sendUs: number; receiveUs: number }> {
  const [sender, receiver] = await Promise.all([pair.sender.usage(), pair.receiver.usage()])
  return { sendUs: sender.cpuUs, receiveUs: receiver.cpuUs }
}

async function openRawPair(stack: NodeRtcName, context: BenchContext): Promise<Pair> {
  context.progress(`channel · connecting · raw ${stack}`)
  const [sender, receiver] = startPair(`channel-raw-${stack}`)
  let open = false
  const opening = Promise.all([
    receiver.call('rawOpen', { stack, side: 'answer' }),
    sender.call('rawOpen', { stack, side: 'offer' }),
  ]).then(() => {
    open = true
  })
  while (!open) {
    await Promise.all([passSignals(sender, receiver), passSignals(receiver, sender)])
    await Promise.race([opening, new Promise((resolve) => setTimeout(resolve, SIGNAL_POLL_MS))])
  }
  return { name: `werift, ${stack}`, sender, receiver, send: 'rawSend' }
}

async function passSignals(from: Worker, to: Worker): Promise<void> {
  const signals = await from.call<readonly RawSignal[]>('rawSignals')
  if (signals.length > 0) await to.call('rawSignal', signals)
}

function startPair(name: string): [Worker, Worker] {
  const module = new URL('./peer-process.ts', import.meta.url)
  return [startWorker(module, { name: `${name}-sender` }), startWorker(module, { name: `${name}-receiver` })]
}

function describe(measured: Measurements, totalBytes: number): ScenarioResult {
  const reference = measured.get('werift, hardened')!.megabytesPerSecond!
  return {
    scenario: 'channel',
    title: `${totalBytes / BYTES_PER_MB} MB one way over the direct path, writes of ${WRITE_BYTES} bytes`,
    metrics: [
      { key: 'megabytesPerSecond', heading: 'MB/s' },
      { key: 'ratio', heading: '× hardened' },
      { key: 'sendCpuMs', heading: 'sender CPU ms/MB' },
      { key: 'receiveCpuMs', heading: 'receiver CPU ms/MB' },
    ],
    rows: [...measured].map(([variant, own]) => ({
      variant,
      measurements: { ...own, ratio: pairedRatio(own.megabytesPerSecond!, reference) },
    })),
    targets: [],
    notes: ['Sender and receiver are processes of their own; time runs from the first to the last piece received.'],
  }
}
