/** Making DOM nodes. Text goes in as text: nothing a peer sends is ever parsed as markup. */
export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>
export type Child = Node | string | undefined

const SVG_NAMESPACE = 'http://www.w3.org/2000/svg'

/** An HTML element. `true` sets an attribute without a value; `false` and undefined leave it out. */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  return fill(document.createElement(tag), attributes, children)
}

/** An SVG element. */
export function svgElement<Tag extends keyof SVGElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[Tag] {
  return fill(document.createElementNS(SVG_NAMESPACE, tag), attributes, children)
}

/** A button that does not submit. */
export function button(label: string, attributes: Attributes, onClick: () => void): HTMLButtonElement {
  const node = element('button', { type: 'button', ...attributes }, label)
  node.addEventListener('click', onClick)
  return node
}

/** Sets attributes as `element` does, touching only what differs. */
export function setAttributes(node: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) node.removeAttribute(name)
    else if (node.getAttribute(name) !== attributeText(value)) node.setAttribute(name, attributeText(value))
  }
}

/** Sets the text of a node only when it differs, so that screen readers do not repeat it and selections survive. */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text
}

function fill<Made extends Element>(node: Made, attributes: Attributes, children: readonly Child[]): Made {
  setAttributes(node, attributes)
  node.append(...children.filter((child) => child !== undefined))
  return node
}

function attributeText(value: string | number | boolean): string {
  return value === true ? '' : String(value)
}
