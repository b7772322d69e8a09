/** The whole of our framework: make an element, with properties and children. */
type Child = Node | string | null;

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<Omit<HTMLElementTagNameMap[K], 'style' | 'dataset'>> & { style?: string } = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  const { style, ...rest } = properties;
  Object.assign(made, rest);
  if (style !== undefined) made.style.cssText = style;
  for (const child of children) if (child !== null) made.append(child);
  return made;
}

/** An element of index.html, which holds every id that the program names. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`BUG: index.html has no #${id}`);
  return found;
}
