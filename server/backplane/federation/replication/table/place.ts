/** Where the row of a peer in a topic lies or would lie, as `RowStore.place` found it: until the next change. */
export interface Place {
  /** The first of the peer's rows in the topic, in any table, or NONE. */
  readonly first: number
  /** The row itself, or NONE. */
  readonly slot: number
  /** Number of the topic, NONE when it has no rows, and hash of the peer in it. */
  readonly topic: number
  readonly hash: number
}
