/** Every bound of a link. All can be lowered or raised by the application; both sides need not agree. */
export interface LinkLimits {
  /** Encoded bytes of one PacketBody. */
  readonly maxBodyBytes: number
  /** Unacknowledged frames and bytes while the direct path carries the link. */
  readonly directWindowFrames: number
  readonly directWindowBytes: number
  /** The same while the relay path does. Small, so that a change of path has little to send again. */
  readonly relayWindowFrames: number
  readonly relayWindowBytes: number
  /** Room beyond the window that only control frames, openings, resets and credit may use. */
  readonly urgentReserveFrames: number
  readonly urgentReserveBytes: number
  /** Frames and bytes kept while an earlier frame is missing. What does not fit is dropped and comes again. */
  readonly reorderFrames: number
  readonly reorderBytes: number
  /** Longest time that an acknowledgement waits for a packet to travel in. */
  readonly ackDelayMs: number
  /** So many packets by the direct path are acknowledged without that wait. */
  readonly ackEveryDirectPackets: number
  /** The same by the relay path, where every packet of its own costs an envelope. */
  readonly ackEveryRelayPackets: number
  /** Retransmission timeout before the first round trip was measured (RFC 6298 section 2.1). */
  readonly initialRtoMs: number
  /** Floor of the timeout, by path. */
  readonly minRelayRtoMs: number
  readonly minDirectRtoMs: number
  /** Ceiling of the timeout, backoff included. */
  readonly maxRtoMs: number
  /** A usable direct path that was silent this long is asked for a Pong. */
  readonly pingMs: number
  /** A direct path without any packet, or without progress, for this long is dead. */
  readonly directDeadMs: number
  /** How long a direct path that is checked has for its answer: see `Link.check`. */
  readonly checkMs: number
  /** How long `Link.ping` waits for the Pong. */
  readonly pingTimeoutMs: number
  /** The other side is silent when the relay path brings nothing for this long while something waits. */
  readonly silentMs: number
  /** Ceiling of the timeout, and distance of the pings, while it is. */
  readonly silentRtoMs: number
  /** The link closes when nothing was acknowledged for this long while something waits, by the relay or without a path. */
  readonly deadMs: number
  /** Channels that each side may have opened and not yet closed. */
  readonly maxChannels: number
  /** Most credit a channel's sender may have ahead of the reader; grows to it from INITIAL_CREDIT_BYTES. */
  readonly maxChannelWindowBytes: number
  /** One message, in either direction. */
  readonly maxMessageBytes: number
  /** Incomplete and not yet read long messages of all channels together. */
  readonly maxReassemblyBytes: number
  /** Messages and bytes queued for sending on one channel. Overflow: `sendMessage` is refused. */
  readonly maxQueuedMessages: number
  readonly maxQueuedBytes: number
  /** Bytes queued by a channel's `writable`. Overflow: the write waits. */
  readonly maxStreamQueueBytes: number
  /** Received messages that wait for the reader of one channel. Overflow: the channel is reset. */
  readonly maxUnreadMessages: number
  /** Received datagrams that wait for the reader of one channel. Overflow: the oldest are dropped. */
  readonly maxUnreadDatagrams: number
  /** Control frames, openings and resets that wait to be sent. Overflow: the link closes. */
  readonly maxUrgentFrames: number
}

const KIB = 1_024
const MIB = 1_024 * KIB

/** What one channel's other side may send before any ChannelCredit: fixed by link.proto, ChannelOpen.credit. */
export const INITIAL_CREDIT_BYTES = 262_144

/** Largest ChannelData.data (link.proto). */
export const MAX_DATA_BYTES = 16_000

/** Largest Datagram.data (link.proto): with frame, seal and headers it fits one SCTP packet of 1,200 bytes, unfragmented. */
export const MAX_DATAGRAM_BYTES = 1_024

export const DEFAULT_LINK_LIMITS: LinkLimits = {
  // 16.5 KiB: the largest frame (an SDP of 16 KiB) and 512 bytes for acknowledgements and field headers.
  maxBodyBytes: 16 * KIB + 512,
  // 1 MiB in flight carries 20 MB/s over a round trip of 50 ms; 2,048 frames carry 40,000 small messages per second.
  directWindowFrames: 2_048,
  directWindowBytes: MIB,
  // 256 KiB: five full envelopes of 48 KiB, one server's patience with a slow reader four times over.
  relayWindowFrames: 256,
  relayWindowBytes: 256 * KIB,
  // 64 KiB: four largest frames.
  urgentReserveFrames: 64,
  urgentReserveBytes: 64 * KIB,
  // Twice the largest window of a sender, so a sender with this code's defaults never overflows it.
  reorderFrames: 4_096,
  reorderBytes: 4 * MIB,
  ackDelayMs: 25,
  // 256 KiB in the largest packets, a quarter of the window. Acknowledging every second packet cost a third of the throughput:
  // each is a DTLS record, an SCTP packet and its own acknowledgement on both sides.
  ackEveryDirectPackets: 16,
  // Two and a half full envelopes of 48 KiB.
  ackEveryRelayPackets: 8,
  initialRtoMs: 1_000,
  // 500 ms: ten times the pace of a pair on a server (20 envelopes per second), the acknowledgement's delay included.
  minRelayRtoMs: 500,
  // A data channel repeats by itself: a timeout here means that something was dropped above it, which is rare.
  minDirectRtoMs: 1_000,
  maxRtoMs: 10_000,
  pingMs: 5_000,
  // Three pings.
  directDeadMs: 15_000,
  pingTimeoutMs: 15_000,
  // A round trip to a peer that answers takes seconds at most.
  checkMs: 1_500,
  silentMs: 30_000,
  silentRtoMs: 30_000,
  // An hour: who uses the link gives a silent peer up long before, and this is for what nobody watches.
  deadMs: 3_600_000,
  maxChannels: 256,
  maxChannelWindowBytes: MIB,
  maxMessageBytes: 16 * MIB,
  // Four largest messages.
  maxReassemblyBytes: 64 * MIB,
  maxQueuedMessages: 131_072,
  // Two largest messages.
  maxQueuedBytes: 32 * MIB,
  maxStreamQueueBytes: 64 * KIB,
  // 262,144 bytes of initial credit in messages of 4 bytes.
  maxUnreadMessages: 65_536,
  // 256 KiB of the largest, as with every other channel before any credit.
  maxUnreadDatagrams: 256,
  maxUrgentFrames: 1_024,
}
