/**
 * Slabs: memory for millions of small things without a JavaScript object each.
 *
 * `WordSlab` hands out runs of 32-bit words, `ByteSlab` runs of bytes, both from pages of 256 and 64 KB that never move
 * (growing is adding a page: no pause). Freed runs go to a list per size, linked through their own first word. An address
 * is a u32; 0 means none. `U32Column` is one growing column of u32 in pages.
 */

const WORD_PAGE_SHIFT = 16;
const WORD_PAGE = 1 << WORD_PAGE_SHIFT;
const WORD_MASK = WORD_PAGE - 1;

export class WordSlab {
  readonly pages: Uint32Array[] = [];
  private used = WORD_PAGE;
  private readonly free = new Map<number, number>();

  /** A run of `size` words (1..65535), contents undefined. */
  alloc(size: number): number {
    const head = this.free.get(size);
    if (head !== undefined && head !== 0) {
      this.free.set(size, this.get(head));
      return head;
    }
    if (size >= WORD_PAGE || size < 1) throw new RangeError(`cannot allocate ${size} words in one run`);
    if (this.used + size > WORD_PAGE) {
      if (this.pages.length === 1 << (32 - WORD_PAGE_SHIFT)) throw new RangeError('word slab is full (16 GB)');
      this.pages.push(new Uint32Array(WORD_PAGE));
      // Address 0 is "none".
      this.used = this.pages.length === 1 ? 1 : 0;
    }
    const address = (((this.pages.length - 1) << WORD_PAGE_SHIFT) | this.used) >>> 0;
    this.used += size;
    return address;
  }

  /** Returns a run; `size` as given to `alloc`. */
  release(address: number, size: number): void {
    this.set(address, this.free.get(size) ?? 0);
    this.free.set(size, address);
  }

  get(address: number): number {
    return (this.pages[address >>> WORD_PAGE_SHIFT] as Uint32Array)[address & WORD_MASK] as number;
  }

  set(address: number, value: number): void {
    (this.pages[address >>> WORD_PAGE_SHIFT] as Uint32Array)[address & WORD_MASK] = value;
  }

  page(address: number): Uint32Array {
    return this.pages[address >>> WORD_PAGE_SHIFT] as Uint32Array;
  }

  /** Index within `page(address)`. */
  offset(address: number): number {
    return address & WORD_MASK;
  }

  get bytes(): number {
    return this.pages.length * WORD_PAGE * 4;
  }
}

const UNIT = 8;
const BYTE_PAGE = 1 << 16;
const UNITS_SHIFT = 13;
const UNITS_MASK = (1 << UNITS_SHIFT) - 1;

export class ByteSlab {
  private readonly pages: Uint8Array[] = [];
  private used = BYTE_PAGE;
  private current = -1;
  private readonly free = new Map<number, number>();
  private readonly freePages: number[] = [];
  private total = 0;

  /** A run of `length` bytes, rounded up to 8; longer than a page it gets a page of its own. */
  alloc(length: number): number {
    const size = Math.max(UNIT, Math.ceil(length / UNIT) * UNIT);
    if (size > BYTE_PAGE) return (this.addPage(size) << UNITS_SHIFT) >>> 0;
    const head = this.free.get(size) ?? 0;
    if (head !== 0) {
      this.free.set(size, this.link(head));
      return head;
    }
    if (this.used + size > BYTE_PAGE) {
      this.current = this.addPage(BYTE_PAGE);
      this.used = this.current === 0 ? UNIT : 0;
      if (this.used + size > BYTE_PAGE) return this.alloc(length);
    }
    const address = ((this.current << UNITS_SHIFT) | (this.used / UNIT)) >>> 0;
    this.used += size;
    return address;
  }

  release(address: number, length: number): void {
    const size = Math.max(UNIT, Math.ceil(length / UNIT) * UNIT);
    if (size > BYTE_PAGE) {
      const index = address >>> UNITS_SHIFT;
      this.total -= (this.pages[index] as Uint8Array).length;
      this.pages[index] = new Uint8Array(0);
      this.freePages.push(index);
      return;
    }
    const next = this.free.get(size) ?? 0;
    const page = this.page(address);
    const at = this.offset(address);
    page[at] = next;
    page[at + 1] = next >>> 8;
    page[at + 2] = next >>> 16;
    page[at + 3] = next >>> 24;
    this.free.set(size, address);
  }

  page(address: number): Uint8Array {
    return this.pages[address >>> UNITS_SHIFT] as Uint8Array;
  }

  offset(address: number): number {
    return (address & UNITS_MASK) * UNIT;
  }

  get bytes(): number {
    return this.total;
  }

  private link(address: number): number {
    const page = this.page(address);
    const at = this.offset(address);
    return (
      ((page[at] as number) |
        ((page[at + 1] as number) << 8) |
        ((page[at + 2] as number) << 16) |
        ((page[at + 3] as number) << 24)) >>>
      0
    );
  }

  private addPage(size: number): number {
    this.total += size;
    const page = new Uint8Array(size);
    const reused = this.freePages.pop();
    if (reused !== undefined) {
      this.pages[reused] = page;
      return reused;
    }
    if (this.pages.length === 1 << (32 - UNITS_SHIFT)) throw new RangeError('byte slab is full (32 GB)');
    // The very first page starts with an unused unit, because address 0 is "none".
    if (this.pages.length === 0 && size > BYTE_PAGE) {
      this.pages.push(new Uint8Array(0));
    }
    this.pages.push(page);
    return this.pages.length - 1;
  }
}

const COLUMN_SHIFT = 12;
const COLUMN_PAGE = 1 << COLUMN_SHIFT;
const COLUMN_MASK = COLUMN_PAGE - 1;

export class U32Column {
  private readonly pages: Uint32Array[] = [];

  /** Makes index `i` writable. */
  reserve(i: number): void {
    while (i >= this.pages.length << COLUMN_SHIFT) this.pages.push(new Uint32Array(COLUMN_PAGE));
  }

  get(i: number): number {
    return (this.pages[i >>> COLUMN_SHIFT] as Uint32Array)[i & COLUMN_MASK] as number;
  }

  set(i: number, value: number): void {
    (this.pages[i >>> COLUMN_SHIFT] as Uint32Array)[i & COLUMN_MASK] = value;
  }

  get bytes(): number {
    return this.pages.length * COLUMN_PAGE * 4;
  }
}
