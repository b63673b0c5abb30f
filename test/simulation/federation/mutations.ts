import type { SourceMutation } from '../seeds/source-mutation.ts'

/** Mistakes somebody could make, and how soon the simulation has to notice each. */
export const FEDERATION_MUTATIONS: readonly SourceMutation[] = [
  {
    name: 'a server that passes a message on answers for the one it passes it to',
    file: 'server/backplane/federation/routing/routing.ts',
    from: `    this.#options.wake(to)
  }`,
    to: `    this.#options.wake(to)
    reply('delivered')
  }`,
    within: 100,
  },
  {
    name: 'what is passed on keeps its destination, and travels in circles',
    file: 'server/backplane/federation/routing/routing.ts',
    from: `queue.offer(envelope, NOWHERE, (answer) => {`,
    to: `queue.offer(envelope, Buffer.from(to, 'latin1'), (answer) => {`,
    within: 100,
  },
  {
    name: 'an envelope that came before is delivered again',
    file: 'server/router/router.ts',
    from: `if (fate === 'delivered' || fate === 'held') return fate`,
    to: ``,
    within: 100,
  },
  {
    name: 'an attempt without an answer is waited for without end',
    file: 'server/backplane/federation/routing/journey.ts',
    from: `this.#meet(timetable.nowMs + limits.federationReceiptMs, () => this.#onSilence(attempt))`,
    to: ``,
    within: 100,
  },
  {
    name: 'NOT_HERE from one home is the answer of all',
    file: 'server/backplane/federation/routing/journey.ts',
    from: `if (!PASSING.has(error.reason) && !(isHeld && error.retryable)) {`,
    to: `if (!isHeld || !error.retryable) {`,
    within: 100,
  },
  {
    name: 'an attempt is forgotten when its stream ends',
    file: 'server/backplane/federation/routing/outgoing-queue.ts',
    from: `for (const { onAnswer } of attempts) onAnswer('lost')`,
    to: `attempts.length = 0`,
    within: 100,
  },
  {
    name: 'what is held for a peer does not follow it to another server',
    file: 'server/router/router.ts',
    from: `for (const held of this.#inboxes.fetch(peer, topicKey)) this.#forward(held)`,
    to: `this.#inboxes.fetch(peer, topicKey)`,
    within: 100,
  },
  {
    name: 'a server that lost a stream does not call again',
    file: 'server/backplane/federation/trunk/line.ts',
    from: `this.#dialLater(error)
  }`,
    to: `}`,
    within: 100,
  },
]
