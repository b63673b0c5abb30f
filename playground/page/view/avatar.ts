import { nicknameOf } from '../../peer/nickname.ts'
import { avatarPattern } from '../avatar-pattern.ts'
import { svgElement } from './element.ts'

/** The drawn face of a key as a group around the origin, for use inside another drawing. */
export function avatarGroup(key: Uint8Array, radius: number): SVGGElement {
  const cell = (radius * 1.16) / 5
  const group = svgElement(
    'g',
    { class: 'avatar' },
    svgElement('circle', { r: radius, class: 'avatar-ground' }),
    svgElement('path', {
      d: avatarPattern(key),
      class: 'avatar-figure',
      transform: `translate(${-2.5 * cell} ${-2.5 * cell}) scale(${cell})`,
    }),
  )
  group.style.setProperty('--hue', String(nicknameOf(key).hue))
  return group
}

/** The same as a picture of its own. */
export function avatar(key: Uint8Array): SVGSVGElement {
  return svgElement(
    'svg',
    { class: 'avatar-picture', viewBox: '-20 -20 40 40', 'aria-hidden': 'true' },
    avatarGroup(key, 20),
  )
}
