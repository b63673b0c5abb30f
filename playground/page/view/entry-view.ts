import { nicknameOf } from '../../peer/nickname.ts'
import { shortId } from '../../peer/short-id.ts'
import type { Delivery, Entry, MessageEntry, NoticeEntry, TransferEntry } from '../timeline.ts'
import { avatar } from './avatar.ts'
import { element, setAttributes, setText } from './element.ts'
import type { ItemView } from './keyed-list.ts'
import { TransferCard } from './transfer-card.ts'

/** One entry of the timeline. */
export function entryView(entry: Entry): ItemView<Entry> {
  switch (entry.kind) {
    case 'notice':
      return { node: notice(entry), update: () => {} }
    case 'message':
      return message(entry)
    case 'transfer':
      return transfer(entry)
  }
}

function notice({ text, at }: NoticeEntry): HTMLElement {
  return element('li', { class: 'entry notice' }, element('span', {}, text), ' ', time(at))
}

function message(entry: MessageEntry): ItemView<Entry> {
  const { author, text, at } = entry
  const status = element('p', { class: 'delivery' })
  const body = element('p', { class: 'text', dir: 'auto' }, text)
  const node = author.self
    ? element('li', { class: 'entry message own' }, element('div', { class: 'bubble' }, body), status)
    : element(
        'li',
        { class: 'entry message' },
        avatar(author.key),
        content(entry, element('div', { class: 'bubble' }, body)),
      )
  if (author.self) node.prepend(element('p', { class: 'byline own-line' }, time(at)))
  return {
    node,
    update: () => {
      if (entry.delivery) showDelivery(status, entry.delivery)
    },
  }
}

function transfer(entry: TransferEntry): ItemView<Entry> {
  const card = new TransferCard(entry.transfer)
  const { partner, direction } = entry.transfer
  const node =
    direction === 'out'
      ? element(
          'li',
          { class: 'entry message own' },
          element('p', { class: 'byline own-line' }, time(entry.at)),
          card.node,
        )
      : element(
          'li',
          { class: 'entry message' },
          avatar(partner.key),
          content({ author: partner, at: entry.at }, card.node),
        )
  return { node, update: () => card.update() }
}

function content({ author, at }: Pick<MessageEntry, 'author' | 'at'>, body: HTMLElement): HTMLElement {
  const name = element('span', { class: 'author', title: author.id }, author.name)
  name.style.setProperty('--hue', String(nicknameOf(author.key).hue))
  const id = element('code', { class: 'id' }, shortId(author.id))
  return element('div', { class: 'content' }, element('p', { class: 'byline' }, name, id, time(at)), body)
}

function time(at: Date): HTMLTimeElement {
  const words = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
  return element('time', { datetime: at.toISOString() }, words)
}

function showDelivery(node: HTMLElement, delivery: Delivery): void {
  const { words, tone } = describeDelivery(delivery)
  setText(node, words)
  setAttributes(node, { 'data-tone': tone })
  if (delivery.kind === 'sent') setAttributes(node, { title: delivery.delivered.join(', ') || undefined })
}

/** How a message went, in words. */
export function describeDelivery(delivery: Delivery): {
  readonly words: string
  readonly tone: 'wait' | 'good' | 'bad'
} {
  if (delivery.kind === 'sending') return { words: 'Sending…', tone: 'wait' }
  if (delivery.kind === 'failed') return { words: `Not sent. ${delivery.why}`, tone: 'bad' }
  const { delivered, failed } = delivery
  if (failed.length > 0) {
    const missed = failed.map(({ name, why }) => `${name} did not get it: ${why}`).join(' ')
    return { words: delivered.length === 0 ? missed : `Delivered to ${delivered.length}. ${missed}`, tone: 'bad' }
  }
  if (delivered.length === 0) return { words: 'Nobody was here to hear it', tone: 'wait' }
  return { words: `Delivered to ${delivered.length <= 2 ? delivered.join(' and ') : delivered.length}`, tone: 'good' }
}
