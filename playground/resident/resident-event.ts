interface AboutPeer {
  readonly id: string
  /** What the peer calls itself, or its nickname. */
  readonly name: string
}

/** What the resident saw, for whoever watches it. */
export type ResidentEvent = AboutPeer &
  (
    | { readonly kind: 'join' | 'leave' | 'restart' | 'away' | 'online' }
    | { readonly kind: 'path'; readonly path: 'none' | 'relay' | 'direct'; readonly rttMs: number | undefined }
    | { readonly kind: 'message'; readonly text: string }
    | {
        readonly kind: 'file'
        readonly file: { readonly name: string; readonly sizeBytes: number }
        readonly result:
          | { readonly kind: 'stored'; readonly checksum: string }
          | { readonly kind: 'not-stored'; readonly why: string }
      }
  )
