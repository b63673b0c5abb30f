import type { SourceMutation } from '../../seeds/source-mutation.ts'

/** Mistakes in the streams between servers, and in the messages that cross them. */
export const MESSAGE_MUTATIONS: readonly SourceMutation[] = [
  {
    name: 'a server that lost a stream does not call again',
    file: 'server/backplane/federation/trunk/line.ts',
    from: `this.#dialLater(error)
  }`,
    to: '}',
    within: 20,
  },
  {
    name: 'credit is not given anew',
    file: 'server/backplane/federation/trunk/node-session.ts',
    from: `state.outlet.write([create(FrameSchema, { frame: { case: 'credit', value: { frames: used } } })])`,
    to: '',
    within: 20,
  },
  {
    name: 'frames are sent without credit',
    file: 'server/backplane/federation/trunk/frame-outlet.ts',
    from: 'if (this.#credit === 0 || this.#closed) return undefined',
    to: 'if (this.#closed) return undefined',
    within: 100,
  },
  {
    name: 'a transport that is full is not waited for',
    file: 'server/backplane/federation/trunk/frame-outlet.ts',
    from: `    this.#full = false
  }`,
    to: '  }',
    within: 20,
  },
  {
    name: 'a server that passes a message on answers for the one it passes it to',
    file: 'server/backplane/federation/routing/routing.ts',
    from: `    this.#options.wake(to)
  }`,
    to: `    this.#options.wake(to)
    reply('delivered')
  }`,
    within: 50,
  },
  {
    name: 'what is passed on keeps its destination, and travels in circles',
    file: 'server/backplane/federation/routing/routing.ts',
    from: 'queue.offer(envelope.slice(), NOWHERE, (answer) => {',
    to: `queue.offer(envelope.slice(), Buffer.from(to, 'latin1'), (answer) => {`,
    within: 50,
  },
  {
    name: 'an envelope that came before is delivered again',
    file: 'server/router/router.ts',
    from: `if (fate === 'delivered' || fate === 'held') return fate`,
    to: '',
    within: 20,
  },
  {
    name: 'a message of somebody who is no member is taken on the word of any server',
    file: 'server/router/router.ts',
    from: 'if (!isKnown && !backplane.isCatchingUp) return notMember()',
    to: '',
    within: 20,
  },
  {
    name: 'an attempt without an answer is waited for without end',
    file: 'server/backplane/federation/routing/journey.ts',
    from: 'this.#meet(nowMs, limits.federationReceiptMs, () => this.#onSilence(trial))',
    to: '',
    within: 20,
  },
  {
    name: 'an envelope is tried beyond its ttl',
    file: 'server/backplane/federation/routing/journey.ts',
    from: '(envelope.ttlMs > 0 ? envelope.ttlMs : this.#patienceMs)',
    to: '(envelope.ttlMs > 0 ? 2 * envelope.ttlMs + 60_000 : this.#patienceMs)',
    within: 20,
  },
  {
    name: 'what is held is kept beyond its ttl',
    file: 'server/router/inbox.ts',
    from: 'timer: this.#clock.schedule(ttlMs, () => this.#drop(held))',
    to: 'timer: this.#clock.schedule(ttlMs + 600_000, () => this.#drop(held))',
    within: 50,
  },
  {
    name: 'the home of the oldest session is tried first',
    file: 'server/backplane/federation/replication/visible/candidates.ts',
    from: 'slots.sort((a, b) => (this.#outranks(a, b) ? -1 : 1))',
    to: 'slots.sort((a, b) => (this.#outranks(a, b) ? 1 : -1))',
    within: 20,
  },
  {
    name: 'NOT_HERE from one home is the answer of all',
    file: 'server/backplane/federation/routing/journey.ts',
    from: 'if (!PASSING.has(error.reason) && !(isHeld && error.retryable)) {',
    to: 'if (!isHeld || !error.retryable) {',
    within: 50,
  },
  {
    name: 'what nobody read is dropped with its session',
    file: 'server/router/router.ts',
    from: `if (ttlMs > 0 && stored.toSession === '') this.#forward({ ...stored, ttlMs })`,
    to: '',
    within: 20,
  },
]
