import type { SourceMutation } from '../seeds/source-mutation.ts'

/** Mistakes somebody could make in the machines of federation, and how soon the simulation has to notice each. */
export const FEDERATION_MUTATIONS: readonly SourceMutation[] = [
  {
    name: 'a new epoch is the old one plus one',
    file: 'server/backplane/federation/replication/log/own-epoch.ts',
    from: 'return (((past >> RANDOM_BITS) + 1n) << RANDOM_BITS) | randomBits(random)',
    to: 'return past + 1n',
    within: 2_000,
  },
  {
    name: 'a server that meets a newer epoch of its own goes on in its old one',
    file: 'server/backplane/federation/replication/replication.ts',
    from: 'if (isAhead) this.#rise(epoch)',
    to: '',
    within: 200,
  },
  {
    name: 'epoch and seq are forgotten with the rows',
    file: 'server/backplane/federation/replication/replica/replicas.ts',
    from: 'if (!replica.tick() && !isConnected(origin) && !expected.has(origin)) this.#replicas.delete(origin)',
    to: 'if ((!replica.tick() || replica.isEmpty) && !isConnected(origin)) this.#replicas.delete(origin)',
    within: 1_000,
  },
  {
    name: 'the log leaves out the entry after the one that was held',
    file: 'server/backplane/federation/replication/log/origin-log.ts',
    from: 'const start = this.#givenUp + Number(seq - this.base)',
    to: 'const start = Math.min(this.#entries.length - 1, this.#givenUp + Number(seq - this.base) + 1)',
    within: 100,
  },
  {
    name: 'the log is believed to reach back one entry further than it does',
    file: 'server/backplane/federation/replication/log/origin-log.ts',
    from: 'return this.#head - BigInt(this.length)',
    to: 'return this.#head - BigInt(this.length) - 1n',
    within: 400,
  },
  {
    name: 'the log is never cut',
    file: 'server/backplane/federation/replication/log/origin-log.ts',
    from: 'this.#givenUp += Math.max(0, this.length - maxEntries)',
    to: '',
    within: 100,
  },
  {
    name: 'a gap in the log is not noticed',
    file: 'server/backplane/federation/replication/replica/replica.ts',
    from: 'if (table === undefined || fromSeq > this.#seq + 1n) {',
    to: 'if (table === undefined) {',
    within: 400,
  },
  {
    name: 'entries that take a row away are skipped',
    file: 'server/backplane/federation/replication/replica/row-intake.ts',
    from: `      this.#remove(table, row)
      return
    }
    const { store }`,
    to: `      return
    }
    const { store }`,
    within: 100,
  },
  {
    name: 'a page of a snapshot may be missing',
    file: 'server/backplane/federation/replication/replica/snapshot-intake.ts',
    from: `if (page !== this.#nextPage) return page < this.#nextPage ? 'repeated' : 'missing'`,
    to: `if (page < this.#nextPage) return 'repeated'
    this.#nextPage = page`,
    within: 2_000,
  },
  {
    name: 'a snapshot is shown before all its pages are there',
    file: 'server/backplane/federation/replication/replica/replica.ts',
    from: 'if (!intake.isComplete) return',
    to: '',
    within: 200,
  },
  {
    name: 'a snapshot is added to the old table instead of replacing it',
    file: 'server/backplane/federation/replication/replica/leased-tables.ts',
    from: 'if (old !== undefined) this.#options.visible.drop(old, DepartureReason.EXPIRED)',
    to: '',
    within: 100,
  },
  {
    name: 'a Pull is sent once and never again',
    file: 'server/backplane/federation/replication/replica/replica.ts',
    from: 'const waitMs = this.#isPullAnswered ? patienceMs : Math.max(federationStateMs, federationLeaseMs / 3)',
    to: 'const waitMs = this.#isPullAnswered ? patienceMs : Number.POSITIVE_INFINITY',
    within: 1_000,
  },
  {
    name: 'a Pull is not answered',
    file: 'server/backplane/federation/replication/replication.ts',
    from: `    this.#serve(outbox, after.epoch, after.seq)
    this.#wake(server)`,
    to: '',
    within: 400,
  },
  {
    name: 'rows are hidden when the stream with their origin ends',
    file: 'server/backplane/federation/replication/replica/replica.ts',
    from: `  disconnected(): void {
`,
    to: `  disconnected(): void {
    this.#tables.clear()
`,
    within: 400,
  },
  {
    name: 'a third server is asked only once the stream with the silent one has ended',
    file: 'server/backplane/federation/replication/relay/relays.ts',
    from: 'if (outboxes.has(origin) && replica.isEmpty) return',
    to: 'if (outboxes.has(origin)) return',
    within: 100,
  },
  {
    name: 'a pause is made up for again and again',
    file: 'server/backplane/federation/replication/replica/leased-tables.ts',
    from: `    if (this.#hasGrace) return
    this.#hasGrace = true
    const earliestMs = this.#options.nowMs() + graceMs`,
    to: '    const earliestMs = Math.max(this.#options.nowMs(), this.#leaseEndsMs) + 30 * graceMs',
    within: 1_000,
  },
  {
    name: 'the oldest session of a peer is shown',
    file: 'server/backplane/federation/replication/visible/candidates.ts',
    from: 'if (a.sessionOrder !== b.sessionOrder) return a.sessionOrder > b.sessionOrder',
    to: 'if (a.sessionOrder !== b.sessionOrder) return a.sessionOrder < b.sessionOrder',
    within: 100,
  },
  {
    name: 'revisions do not rise when somebody joins',
    file: 'server/backplane/federation/replication/visible/visible-set.ts',
    from: `    this.#revision += 1
    if (told) this.#tellRecord('joined', slot, topicKey)`,
    to: `    if (told) this.#tellRecord('joined', slot, topicKey)`,
    within: 100,
  },
  {
    name: 'a departure is told twice',
    file: 'server/backplane/federation/replication/visible/visible-set.ts',
    from: `    this.#tellLeft(slot, topicKey, going)
  }`,
    to: `    this.#tellLeft(slot, topicKey, going)
    this.#revision += 1
    this.#tellLeft(slot, topicKey, going)
  }`,
    within: 100,
  },
  {
    name: 'who has a second home is said to have left when the first one ends',
    file: 'server/backplane/federation/replication/visible/visible-set.ts',
    from: '    } else if (best !== before || best === touched) {',
    to: `    } else if (best !== before) {
      this.#conceal(before, topicKey, going)
      this.#reveal(best, topicKey, told)
    } else if (best === touched) {`,
    within: 100,
  },
  {
    name: 'a server that lost a stream does not call again',
    file: 'server/backplane/federation/trunk/line.ts',
    from: `this.#dialLater(error)
  }`,
    to: '}',
    within: 100,
  },
  {
    name: 'credit is not given anew',
    file: 'server/backplane/federation/trunk/node-session.ts',
    from: `state.outlet.write([create(FrameSchema, { frame: { case: 'credit', value: { frames: used } } })])`,
    to: '',
    within: 200,
  },
  {
    name: 'a transport that is full is not waited for',
    file: 'server/backplane/federation/trunk/frame-outlet.ts',
    from: `    this.#full = false
  }`,
    to: '  }',
    within: 200,
  },
  {
    name: 'a server that passes a message on answers for the one it passes it to',
    file: 'server/backplane/federation/routing/routing.ts',
    from: `    this.#options.wake(to)
  }`,
    to: `    this.#options.wake(to)
    reply('delivered')
  }`,
    within: 1_000,
  },
  {
    name: 'what is passed on keeps its destination, and travels in circles',
    file: 'server/backplane/federation/routing/routing.ts',
    from: 'queue.offer(envelope.slice(), NOWHERE, (answer) => {',
    to: `queue.offer(envelope.slice(), Buffer.from(to, 'latin1'), (answer) => {`,
    within: 100,
  },
  {
    name: 'an envelope that came before is delivered again',
    file: 'server/router/router.ts',
    from: `if (fate === 'delivered' || fate === 'held') return fate`,
    to: '',
    within: 200,
  },
  {
    name: 'an attempt without an answer is waited for without end',
    file: 'server/backplane/federation/routing/journey.ts',
    from: 'this.#meet(timetable.nowMs + limits.federationReceiptMs, () => this.#onSilence(trial))',
    to: '',
    within: 200,
  },
  {
    name: 'NOT_HERE from one home is the answer of all',
    file: 'server/backplane/federation/routing/journey.ts',
    from: 'if (!PASSING.has(error.reason) && !(isHeld && error.retryable)) {',
    to: 'if (!isHeld || !error.retryable) {',
    within: 200,
  },
  {
    name: 'what nobody read is dropped with its session',
    file: 'server/router/router.ts',
    from: `if (ttlMs > 0 && stored.toSession === '') this.#forward({ ...stored, ttlMs })`,
    to: '',
    within: 200,
  },
]
