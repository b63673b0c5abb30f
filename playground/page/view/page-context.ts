import type { Peer } from '@mesh/client'
import type { Room } from '../room.ts'
import type { Author } from '../timeline.ts'

/** What every part of the page is drawn from. */
export interface PageState {
  readonly room: Room
  readonly self: Author
  /** Peer whose details are open. */
  readonly selectedId: string | undefined
}

/** What people can do, wherever on the page they do it. */
export interface PageActions {
  say(text: string): void
  sendFiles(peer: Peer, files: readonly File[]): void
  /** Opens a peer's details, or closes them. */
  select(id: string | undefined): void
  rename(name: string): void
  /** Goes to another party. */
  moveTo(partyText: string): void
}
