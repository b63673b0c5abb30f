import type { SourceMutation } from '../../seeds/source-mutation.ts'

/** Mistakes in how tables get from one server to another, and in what is shown of them. */
export const REPLICATION_MUTATIONS: readonly SourceMutation[] = [
  {
    name: 'a new epoch is the old one plus one',
    file: 'server/backplane/federation/replication/log/own-epoch.ts',
    from: 'return (((past >> RANDOM_BITS) + 1n) << RANDOM_BITS) | randomBits(random)',
    to: 'return past + 1n',
    within: 50,
  },
  {
    name: 'a server that meets a newer epoch of its own goes on in its old one',
    file: 'server/backplane/federation/replication/replication.ts',
    from: 'if (isAhead) this.#rise(epoch)',
    to: '',
    within: 20,
  },
  {
    name: 'epoch and seq are forgotten with the rows',
    file: 'server/backplane/federation/replication/replica/replicas.ts',
    from: 'if (!replica.tick() && !isConnected(origin) && !expected.has(origin)) this.#replicas.delete(origin)',
    to: 'if ((!replica.tick() || replica.isEmpty) && !isConnected(origin)) this.#replicas.delete(origin)',
    within: 600,
  },
  {
    name: 'the log leaves out the entry after the one that was held',
    file: 'server/backplane/federation/replication/log/origin-log.ts',
    from: 'const start = this.#givenUp + Number(seq - this.base)',
    to: 'const start = Math.min(this.#entries.length - 1, this.#givenUp + Number(seq - this.base) + 1)',
    within: 20,
  },
  {
    name: 'the log is believed to reach back one entry further than it does',
    file: 'server/backplane/federation/replication/log/origin-log.ts',
    from: 'return this.#head - BigInt(this.length)',
    to: 'return this.#head - BigInt(this.length) - 1n',
    within: 20,
  },
  {
    name: 'the log is never cut',
    file: 'server/backplane/federation/replication/log/origin-log.ts',
    from: 'this.#givenUp += Math.max(0, this.length - maxEntries)',
    to: '',
    within: 20,
  },
  {
    name: 'a gap in the log is not noticed',
    file: 'server/backplane/federation/replication/replica/replica.ts',
    from: 'if (table === undefined || fromSeq > this.#seq + 1n) {',
    to: 'if (table === undefined) {',
    within: 20,
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
    within: 20,
  },
  {
    name: 'a page of a snapshot may be missing',
    file: 'server/backplane/federation/replication/replica/snapshot-intake.ts',
    from: `if (page !== this.#nextPage) return page < this.#nextPage ? 'repeated' : 'missing'`,
    to: `if (page < this.#nextPage) return 'repeated'
    this.#nextPage = page`,
    within: 100,
  },
  {
    name: 'a snapshot is shown before all its pages are there',
    file: 'server/backplane/federation/replication/replica/replica.ts',
    from: 'if (!intake.isComplete) return',
    to: '',
    within: 20,
  },
  {
    name: 'a snapshot is added to the old table instead of replacing it',
    file: 'server/backplane/federation/replication/replica/leased-tables.ts',
    from: 'if (old !== undefined) this.#options.visible.drop(old, DepartureReason.EXPIRED)',
    to: '',
    within: 20,
  },
  {
    name: 'a Pull is sent once and never again',
    file: 'server/backplane/federation/replication/replica/replica.ts',
    from: 'const waitMs = this.#isPullAnswered ? patienceMs : Math.max(federationStateMs, federationLeaseMs / 3)',
    to: 'const waitMs = this.#isPullAnswered ? patienceMs : Number.POSITIVE_INFINITY',
    within: 100,
  },
  {
    name: 'a Pull is not answered',
    file: 'server/backplane/federation/replication/replication.ts',
    from: `    this.#serve(outbox, after.epoch, after.seq)
    this.#wake(server)`,
    to: '',
    within: 20,
  },
  {
    name: 'rows are hidden when the stream with their origin ends',
    file: 'server/backplane/federation/replication/replica/replica.ts',
    from: `  disconnected(): void {
`,
    to: `  disconnected(): void {
    this.#tables.clear()
`,
    within: 20,
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
    from: 'if (!this.#hasGrace) this.#leaseEndsMs',
    to: 'this.#leaseEndsMs',
    within: 400,
  },
  {
    name: 'a pause is made up for again and again to the rows of an epoch that is over',
    file: 'server/backplane/federation/replication/replica/leased-tables.ts',
    from: 'return former.hasGrace',
    to: 'return false',
    within: 800,
  },
  {
    name: 'who was stopped gives no grace',
    file: 'server/backplane/federation/replication/replication.ts',
    from: 'this.#replicas.grantGrace(limits.federationPauseGraceMs)',
    to: '',
    within: 50,
  },
  {
    name: 'rows outlive their lease',
    file: 'server/backplane/federation/replication/replica/leased-tables.ts',
    from: `      case 'live':
        return this.#leaseEndsMs`,
    to: `      case 'live':
        return Number.POSITIVE_INFINITY`,
    within: 20,
  },
  {
    name: 'rows are hidden half a lease after their origin was heard',
    file: 'server/backplane/federation/replication/replica/leased-tables.ts',
    from: 'this.#leaseEndsMs = this.#heardMs + leaseMs',
    to: 'this.#leaseEndsMs = this.#heardMs + leaseMs / 2',
    within: 20,
  },
  {
    name: 'the rows of an epoch that is over stay',
    file: 'server/backplane/federation/replication/replica/leased-tables.ts',
    from: 'this.#formers.push({ table, untilMs: this.#leaseEndsMs,',
    to: 'this.#formers.push({ table, untilMs: this.#leaseEndsMs + 60_000,',
    within: 50,
  },
  {
    name: 'a state prolongs the lease of rows that it does not speak for',
    file: 'server/backplane/federation/replication/replica/replica.ts',
    from: 'const speaksForRows = !isStalled && isRight',
    to: 'const speaksForRows = isRight',
    within: 50,
  },
  {
    name: 'a state prolongs the lease of rows that are not those it tells of',
    file: 'server/backplane/federation/replication/replica/replica.ts',
    from: 'const speaksForRows = !isStalled && isRight',
    to: 'const speaksForRows = !isStalled',
    within: 200,
  },
  {
    name: 'who is told of rows that do not come does not ask for them',
    file: 'server/backplane/federation/replication/replica/replica.ts',
    from: 'if (isStalled && this.#isBehind) this.#pull()',
    to: '',
    within: 50,
  },
  {
    name: 'the digest of a table is not compared',
    file: 'server/backplane/federation/replication/replica/replica.ts',
    from: 'if (expected.rowCount === BigInt(table.rows) && equalBytes(expected.digest, table.digest.bytes())) {',
    to: 'if (table.rows >= 0) {',
    within: 20,
  },
  {
    name: 'an older epoch is entered like a newer one',
    file: 'server/backplane/federation/replication/replica/replica.ts',
    from: `    if (epoch < this.#epoch) {
      this.#refuseStale()
      return false
    }
    if (epoch > this.#epoch) {`,
    to: '    if (epoch !== this.#epoch) {',
    within: 50,
  },
  {
    name: 'a server waits for rows of one that it does not hear',
    file: 'server/backplane/federation/replication/replication.ts',
    from: 'isIncomplete && (this.#outboxes.has(origin) || this.#relays.viaOf(origin) !== undefined),',
    to: 'isIncomplete,',
    within: 20,
  },
  {
    name: 'rows of another origin are taken from whoever sends them',
    file: 'server/backplane/federation/replication/replication.ts',
    from: `    if (byteKey(rows.origin) !== server) {
      this.#relays.receiveRows(server, rows)
      return
    }
    this.#relays.heard(server)
    this.#replicas.get(server)?.receiveRows(rows)`,
    to: '    this.#replicas.get(byteKey(rows.origin))?.receiveRows(rows)',
    within: 20,
  },
  {
    name: 'a state that is passed on needs no signature',
    file: 'server/backplane/federation/replication/relay/relayed-rows.ts',
    from: `verifyStatementSync(origin, 'origin-state', signed.statement, signed.signature, verify)`,
    to: '',
    within: 400,
  },
  {
    name: 'rows that are passed on are taken without the digest that the origin signed',
    file: 'server/backplane/federation/replication/relay/relayed-rows.ts',
    from: `    if (!this.#isVouchedFor(state, base, entries)) {
      this.#reject(base)
      return true
    }
`,
    to: '',
    within: 200,
  },
  {
    name: 'the oldest session of a peer is shown',
    file: 'server/backplane/federation/replication/visible/candidates.ts',
    from: 'if (order !== otherOrder) return order > otherOrder',
    to: 'if (order !== otherOrder) return order < otherOrder',
    within: 20,
  },
  {
    name: 'a LEAVE says nothing to other homes',
    file: 'server/backplane/federation/replication/visible/departures.ts',
    from: 'return leave.home !== home && seq <= leave.seq && sessionOrder <= leave.sessionOrder',
    to: 'return false',
    within: 20,
  },
  {
    name: 'a LEAVE gives way to one of an older session',
    file: 'server/backplane/federation/replication/visible/departures.ts',
    from: 'return leave.seq >= other.seq && leave.sessionOrder >= other.sessionOrder',
    to: 'return leave.seq >= other.seq',
    within: 50,
  },
  {
    name: 'revisions do not rise when somebody joins',
    file: 'server/backplane/federation/replication/visible/visible-set.ts',
    from: `    this.#revision += 1
    if (told) this.#tellRecord('joined', slot, topicKey)`,
    to: `    if (told) this.#tellRecord('joined', slot, topicKey)`,
    within: 20,
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
    within: 20,
  },
  {
    name: 'who has a second home is said to have left when the first one ends',
    file: 'server/backplane/federation/replication/visible/visible-set.ts',
    from: '    } else if (best !== before || best === touched) {',
    to: `    } else if (best !== before) {
      this.#conceal(before, topicKey, going)
      this.#reveal(best, topicKey, told)
    } else if (best === touched) {`,
    within: 20,
  },
]
