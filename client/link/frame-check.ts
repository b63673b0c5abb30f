import { ErrorReason, MeshError } from '@mesh/core'
import type { Attach, ChannelOpen, Frame, RtcSignal } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { ErrorDetail } from '@mesh/protocol/mesh/signal/v1/error_pb'
import { MAX_DATA_BYTES, MAX_DATAGRAM_BYTES } from './link-limits.ts'

// The shape of frames, before any state is looked at. Sizes and fields are those of link.proto; whether a channel
// exists, a number was used or credit was left is judged where that state lives (channel/).

/** Attach.topic, Detach.topic, ChannelOpen.topic: a discovery key. */
const TOPIC_BYTES = 32
/** Attach.evidence: 8 KiB. */
const MAX_EVIDENCE_BYTES = 8_192
/** ChannelOpen.name, and ChannelReset.message. */
export const MAX_NAME_BYTES = 256
/** RtcSignal.offer and answer: 16 KiB. */
const MAX_SDP_BYTES = 16_384
/** IceCandidate fields together: a candidate line has about 150 characters. */
const MAX_CANDIDATE_BYTES = 4_096
/** ErrorDetail.limit: the name of a limit. */
const MAX_LIMIT_NAME_BYTES = 256

/** Frames without a seq. */
const UNRELIABLE: ReadonlySet<Frame['body']['case']> = new Set(['ping', 'pong', 'goodbye', 'datagram'])

/** The error for input that breaks link.proto. It ends the link. */
export function invalidFrame(message: string): MeshError {
  return new MeshError(ErrorReason.FRAME_INVALID, message)
}

/**
 * Checks one received frame.
 * @throws MeshError FRAME_INVALID, saying which field is wrong
 */
export function checkFrame(frame: Frame): void {
  const { body } = frame
  const reliable = !UNRELIABLE.has(body.case)
  if (reliable !== frame.seq > 0n && body.case !== undefined) {
    throw invalidFrame(`A ${body.case} frame must ${reliable ? '' : 'not '}have a seq`)
  }
  switch (body.case) {
    case 'data':
      checkSize('ChannelData.data', body.value.data.length, MAX_DATA_BYTES)
      if (body.value.data.length === 0 && !body.value.endOfMessage) {
        throw invalidFrame('ChannelData.data is empty and ends no message')
      }
      return
    case 'datagram':
      if (body.value.data.length === 0) throw invalidFrame('Datagram.data is empty')
      return checkSize('Datagram.data', body.value.data.length, MAX_DATAGRAM_BYTES)
    case 'attach':
      return checkAttach(body.value)
    case 'detach':
      checkTopic(body.value.topic)
      return checkDetail(body.value.error)
    case 'open':
      return checkOpen(body.value)
    case 'reset':
      checkSize('ChannelReset.message', utf8Length(body.value.message), MAX_NAME_BYTES)
      return checkDetail(body.value.error)
    case 'rtc':
      return checkRtc(body.value)
    case 'goodbye':
      return checkDetail(body.value.error)
  }
}

function checkAttach(attach: Attach): void {
  checkTopic(attach.topic)
  checkSize('Attach.evidence', attach.evidence.length, MAX_EVIDENCE_BYTES)
  if (attach.record === undefined) throw invalidFrame('Attach.record is missing')
}

function checkOpen(open: ChannelOpen): void {
  checkTopic(open.topic)
  checkSize('ChannelOpen.name', utf8Length(open.name), MAX_NAME_BYTES)
  if (open.kind === ChannelKind.UNSPECIFIED) throw invalidFrame('ChannelOpen.kind is missing')
}

function checkRtc(rtc: RtcSignal): void {
  if (rtc.attempt === 0) throw invalidFrame('RtcSignal.attempt is 0')
  const { signal } = rtc
  if (signal.case === 'offer' || signal.case === 'answer') {
    checkSize(`RtcSignal.${signal.case}`, utf8Length(signal.value), MAX_SDP_BYTES)
  } else if (signal.case === 'candidate') {
    const { candidate, sdpMid, usernameFragment } = signal.value
    checkSize('IceCandidate', candidate.length + sdpMid.length + usernameFragment.length, MAX_CANDIDATE_BYTES)
  } else if (signal.case === 'failure') checkDetail(signal.value)
}

function checkTopic(topic: Uint8Array): void {
  if (topic.length !== TOPIC_BYTES) throw invalidFrame(`A topic has ${topic.length} bytes, must be ${TOPIC_BYTES}`)
}

function checkDetail(detail: ErrorDetail | undefined): void {
  if (detail !== undefined) checkSize('ErrorDetail.limit', utf8Length(detail.limit), MAX_LIMIT_NAME_BYTES)
}

function checkSize(field: string, bytes: number, maxBytes: number): void {
  if (bytes > maxBytes) throw invalidFrame(`${field} has ${bytes} bytes, at most ${maxBytes}`)
}

/** Bytes of the text in UTF-8, without encoding it. */
export function utf8Length(text: string): number {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) continue
    // Two bytes below U+0800; three above; four for a pair of surrogates, two per half.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 1 : 2
  }
  return bytes
}
