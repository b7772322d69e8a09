/**
 * Colours of series: told apart on light and on dark ground, neighbours far from each other in hue. More series than
 * colours start over.
 */
const COLORS = [
  '#2f81f7',
  '#f0883e',
  '#2ea77a',
  '#e5534b',
  '#a371f7',
  '#c69026',
  '#1b9aaa',
  '#e275ad',
  '#6f9e1a',
  '#8b6bd9',
  '#d9673c',
  '#5b8db8',
];

export function seriesColor(index: number): string {
  return COLORS[index % COLORS.length] as string;
}

export function isDark(): boolean {
  return matchMedia('(prefers-color-scheme: dark)').matches;
}
