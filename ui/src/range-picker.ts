/**
 * The controls at the right: back and forward in time, the usual ranges, a custom one, zoom out, the step, and how often
 * a range that ends now is asked for again.
 */
import { element } from './dom.ts';
import type { PageState } from './page-state.ts';
import {
  formatMoment,
  formatSpan,
  isMoment,
  PRESETS,
  parseSpan,
  resolve,
  SPAN_MIN_MS,
  shift,
  type TimeRange,
  zoomOut,
} from './time-range.ts';

const STEP_CHOICES_MS = [1000, 5000, 15_000, 60_000, 300_000, 3_600_000];
const REFRESH_CHOICES_MS = [0, 5000, 15_000, 60_000];
const REFRESH_DEFAULT_MS = 15_000;

export interface PickerEvents {
  onRange(range: TimeRange): void;
  onStep(stepMs: number | null): void;
  onRefresh(periodMs: number): void;
}

export class RangePicker {
  private readonly events: PickerEvents;
  private readonly presets = element('div', { className: 'segments' });
  private readonly custom = element('button', { type: 'button', className: 'segment', textContent: 'Custom' });
  private readonly panel = element('form', { className: 'custom-range', hidden: true });
  private readonly from = element('input', { type: 'datetime-local', step: '1', required: true });
  private readonly to = element('input', { type: 'datetime-local', step: '1', required: true });
  private readonly problem = element('span', { className: 'form-problem' });
  private readonly step = element('select', { title: 'Step between points' });
  private readonly now: () => number;
  private range: TimeRange = { kind: 'last', spanMs: 0 };
  refreshMs = REFRESH_DEFAULT_MS;

  constructor(parent: HTMLElement, panelParent: HTMLElement, now: () => number, events: PickerEvents) {
    this.events = events;
    this.now = now;
    for (const { label, spanMs } of PRESETS) {
      const button = element('button', { type: 'button', className: 'segment', textContent: label });
      button.dataset.span = String(spanMs);
      button.addEventListener('click', () => this.choose({ kind: 'last', spanMs }));
      this.presets.append(button);
    }
    this.presets.append(this.custom);
    this.custom.addEventListener('click', () => this.toggleCustom());
    this.buildPanel();
    this.step.addEventListener('change', () => {
      events.onStep(this.step.value === 'auto' ? null : Number(this.step.value));
    });
    parent.append(
      element(
        'div',
        { className: 'segments' },
        this.arrow('‹', 'Earlier', () => shift(this.range, -1, now())),
        this.arrow('›', 'Later', () => shift(this.range, 1, now())),
      ),
      this.presets,
      element(
        'div',
        { className: 'segments' },
        this.arrow('−', 'Zoom out', () => zoomOut(this.range, 2, now())),
      ),
      element('label', { className: 'field' }, 'Step ', this.step),
      element('label', { className: 'field' }, 'Refresh ', this.refreshChoice()),
    );
    panelParent.append(this.panel);
  }

  /** Shows a state; `stepMs` is the one in use, chosen or not. */
  show(state: PageState, stepMs: number): void {
    if (JSON.stringify(state.range) !== JSON.stringify(this.range)) this.panel.hidden = true;
    this.range = state.range;
    const span = state.range.kind === 'last' ? String(state.range.spanMs) : '';
    let known = false;
    for (const button of this.presets.querySelectorAll('button')) {
      const active = button.dataset.span !== undefined && button.dataset.span === span;
      known ||= active;
      setActive(button, active);
    }
    setActive(this.custom, !known);
    this.custom.textContent = known ? 'Custom' : describe(state.range);
    this.fillSteps(state.stepMs, stepMs);
  }

  private choose(range: TimeRange): void {
    this.panel.hidden = true;
    this.events.onRange(range);
  }

  private arrow(text: string, title: string, range: () => TimeRange): HTMLElement {
    const button = element('button', { type: 'button', className: 'segment', textContent: text, title });
    button.setAttribute('aria-label', title);
    button.addEventListener('click', () => this.choose(range()));
    return button;
  }

  private toggleCustom(): void {
    this.panel.hidden = !this.panel.hidden;
    if (this.panel.hidden) return;
    const { startMs, endMs } = resolve(this.range, this.now());
    this.from.value = formatMoment(startMs, 0).replace(' ', 'T');
    this.to.value = formatMoment(endMs, 0).replace(' ', 'T');
    this.problem.textContent = '';
    this.from.focus();
  }

  private buildPanel(): void {
    const span = element('input', { type: 'text', placeholder: 'or last: 90m, 3h, 2d', size: 18 });
    this.panel.append(
      element('label', { className: 'field' }, 'From ', this.from),
      element('label', { className: 'field' }, 'to ', this.to),
      span,
      element('button', { type: 'submit', textContent: 'Apply' }),
      this.problem,
    );
    this.panel.noValidate = true;
    this.panel.addEventListener('submit', event => {
      event.preventDefault();
      const range = span.value.trim() === '' ? this.fixedRange() : lastRange(span.value);
      if (typeof range === 'string') this.problem.textContent = range;
      else {
        span.value = '';
        this.choose(range);
      }
    });
  }

  private fixedRange(): TimeRange | string {
    const startMs = new Date(this.from.value).getTime();
    const endMs = new Date(this.to.value).getTime();
    if (!isMoment(startMs) || !isMoment(endMs)) return 'Give both moments.';
    if (endMs - startMs < SPAN_MIN_MS) return 'The end must be at least 10 s after the start.';
    return { kind: 'fixed', startMs, endMs };
  }

  private fillSteps(chosen: number | null, used: number): void {
    const choices = [...STEP_CHOICES_MS];
    if (chosen !== null && !choices.includes(chosen)) choices.push(chosen);
    this.step.replaceChildren(
      element('option', { value: 'auto', textContent: chosen === null ? `auto (${formatSpan(used)})` : 'auto' }),
      ...choices.sort((a, b) => a - b).map(ms => element('option', { value: String(ms), textContent: formatSpan(ms) })),
    );
    this.step.value = chosen === null ? 'auto' : String(chosen);
  }

  private refreshChoice(): HTMLElement {
    const select = element(
      'select',
      { title: 'Ask again, while the range ends now' },
      ...REFRESH_CHOICES_MS.map(ms =>
        element('option', { value: String(ms), textContent: ms === 0 ? 'off' : formatSpan(ms) }),
      ),
    );
    select.value = String(this.refreshMs);
    select.addEventListener('change', () => {
      this.refreshMs = Number(select.value);
      this.events.onRefresh(this.refreshMs);
    });
    return select;
  }
}

function setActive(button: HTMLElement, active: boolean): void {
  button.classList.toggle('is-active', active);
  button.setAttribute('aria-pressed', String(active));
}

function lastRange(text: string): TimeRange | string {
  const spanMs = parseSpan(text);
  if (spanMs === null) return `"${text}" is not a span such as 90m, 3h or 2d.`;
  return spanMs < SPAN_MIN_MS ? 'At least 10 s.' : { kind: 'last', spanMs };
}

function describe(range: TimeRange): string {
  if (range.kind === 'last') return `Last ${formatSpan(range.spanMs)}`;
  const span = range.endMs - range.startMs;
  return `${formatMoment(range.startMs, span)} – ${formatMoment(range.endMs, span)}`;
}
