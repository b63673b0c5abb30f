import type { Transfer } from './transfer.ts'

/** Somebody, as remembered after they left. */
export interface Author {
  readonly id: string
  readonly name: string
  readonly key: Uint8Array
  readonly self: boolean
}

export type Delivery =
  | { readonly kind: 'sending' }
  | {
      readonly kind: 'sent'
      readonly delivered: readonly string[]
      readonly failed: readonly { readonly name: string; readonly why: string }[]
    }
  | { readonly kind: 'failed'; readonly why: string }

export interface MessageEntry {
  readonly kind: 'message'
  readonly number: number
  readonly at: Date
  readonly author: Author
  readonly text: string
  /** Of own messages only. */
  delivery?: Delivery
}

export interface NoticeEntry {
  readonly kind: 'notice'
  readonly number: number
  readonly at: Date
  readonly text: string
}

export interface TransferEntry {
  readonly kind: 'transfer'
  readonly number: number
  readonly at: Date
  readonly transfer: Transfer
}

export type Entry = MessageEntry | NoticeEntry | TransferEntry
type NewEntry = Entry extends infer Kind ? (Kind extends Entry ? Omit<Kind, 'number' | 'at'> : never) : never

/** Entries that are kept; the oldest go first. */
const MAX_ENTRIES = 500

/** What happened in a party, oldest first. */
export class Timeline {
  readonly #entries: Entry[] = []
  readonly #onDropped: (entry: Entry) => void
  #next = 1

  /** `onDropped` is told of every entry that is let go, to release what it holds. */
  constructor(onDropped: (entry: Entry) => void) {
    this.#onDropped = onDropped
  }

  get entries(): readonly Entry[] {
    return this.#entries
  }

  add<Added extends NewEntry>(entry: Added, at: Date): Added & { readonly number: number; readonly at: Date } {
    const added = { ...entry, number: this.#next++, at }
    this.#entries.push(added as unknown as Entry)
    if (this.#entries.length > MAX_ENTRIES) this.#onDropped(this.#entries.shift() as Entry)
    return added
  }

  clear(): void {
    for (const entry of this.#entries.splice(0)) this.#onDropped(entry)
  }
}
