/** "mesh1qw0…k7f2": enough of a peer id to tell peers apart at a glance, never enough to trust one. */
export function shortId(id: string): string {
  return id.length <= 14 ? id : `${id.slice(0, 8)}…${id.slice(-4)}`
}
