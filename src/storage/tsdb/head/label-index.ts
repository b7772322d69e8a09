/**
 * LabelIndex: the label sets of all series of a head, and by tenant the way from a label to its series.
 *
 *     tenant --> names (chain) --> pairs of the name (chain) --> postings
 *     series --> [count, pair ids in the order of the label set]   (one run in a word slab)
 *
 * A *pair* is (tenant, name, value), a *name* (tenant, label name); both are rows of u32 columns, found through an IdTable.
 * Symbols are shared by all tenants. So a tenant costs one small object, and a series about 4 bytes per label here and
 * 5 in the postings; strings exist only while a reader looks at them.
 */
import type { Labels } from '../../../model/labels.ts';
import { IdTable } from './id-table.ts';
import { Postings } from './postings.ts';
import { U32Column, WordSlab } from './slab.ts';
import { hashIds, SymbolTable } from './symbols.ts';

/** Most labels a series may have here; the pipeline's limit is lower. */
export const LABELS_MAX = 4096;

/** A higher pair id in series.log is not believed. */
const PAIR_IDS_MAX = 1 << 26;

export interface Tenant {
  readonly id: string;
  readonly index: number;
  /** Live series. */
  seriesCount: number;
  /** First name id + 1, 0 = none. */
  firstName: number;
}

export class LabelIndex {
  readonly symbols = new SymbolTable();
  /** By pair id. */
  readonly postings = new Postings();
  /** All series of a tenant, by tenant index. */
  readonly allSeries = new Postings();
  readonly tenants: Tenant[] = [];
  private readonly tenantByName = new Map<string, Tenant>();
  /** Runs [n, pair id x n] by series. */
  readonly lists = new WordSlab();

  private readonly pairName = new U32Column();
  private readonly pairValue = new U32Column();
  private readonly pairNext = new U32Column();
  private readonly pairPrevious = new U32Column();
  private pairSize = 0;
  private pairFree = 0;
  private readonly pairTable = new IdTable(id => hashIds(this.pairName.get(id), this.pairValue.get(id)));

  private readonly nameTenant = new U32Column();
  private readonly nameSymbol = new U32Column();
  private readonly nameFirst = new U32Column();
  private readonly namePairs = new U32Column();
  private readonly nameNext = new U32Column();
  private readonly namePrevious = new U32Column();
  private nameSize = 0;
  private nameFree = 0;
  private readonly nameTable = new IdTable(id => hashIds(this.nameTenant.get(id), this.nameSymbol.get(id)));

  private wantedA = 0;
  private wantedB = 0;
  private readonly isPair = (id: number): boolean =>
    this.pairValue.get(id) === this.wantedB && this.pairName.get(id) === this.wantedA;
  private readonly isName = (id: number): boolean =>
    this.nameSymbol.get(id) === this.wantedB && this.nameTenant.get(id) === this.wantedA;

  tenant(id: string): Tenant | undefined {
    return this.tenantByName.get(id);
  }

  addTenant(id: string): Tenant {
    const tenant: Tenant = { id, index: this.tenants.length, seriesCount: 0, firstName: 0 };
    this.tenants.push(tenant);
    this.allSeries.open(tenant.index);
    this.tenantByName.set(id, tenant);
    return tenant;
  }

  // --- names and pairs ---

  /** The name id, or -1. */
  findName(tenant: Tenant, name: string): number {
    const symbol = this.symbols.findString(name);
    return symbol < 0 ? -1 : this.lookupName(tenant.index, symbol);
  }

  /** The pair id of a value of the name, or -1. */
  findPair(name: number, value: string): number {
    const symbol = this.symbols.findString(value);
    return symbol < 0 ? -1 : this.lookupPair(name, symbol);
  }

  /** How many values a name has. */
  pairCount(name: number): number {
    return this.namePairs.get(name);
  }

  /** Chain of a name's pairs: `for (let p = firstPair(n); p >= 0; p = nextPair(p))`. */
  firstPair(name: number): number {
    return this.nameFirst.get(name) - 1;
  }

  nextPair(pair: number): number {
    return this.pairNext.get(pair) - 1;
  }

  nextName(name: number): number {
    return this.nameNext.get(name) - 1;
  }

  nameOfPair(pair: number): number {
    return this.pairName.get(pair);
  }

  nameText(name: number): string {
    return this.symbols.string(this.nameSymbol.get(name));
  }

  valueText(pair: number): string {
    return this.symbols.string(this.pairValue.get(pair));
  }

  valueSymbol(pair: number): number {
    return this.pairValue.get(pair);
  }

  symbolOfName(name: number): number {
    return this.nameSymbol.get(name);
  }

  tenantOfPair(pair: number): number {
    return this.nameTenant.get(this.pairName.get(pair));
  }

  /** Finds the pair of these bytes, or makes it and says so in `madePair`. */
  internPair(
    tenant: Tenant,
    bytes: Uint8Array,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
  ): number {
    this.madePair = false;
    const nameSymbol = this.symbols.find(bytes, nameStart, nameEnd);
    let name = nameSymbol < 0 ? -1 : this.lookupName(tenant.index, nameSymbol);
    if (name >= 0) {
      const valueSymbol = this.symbols.find(bytes, valueStart, valueEnd);
      const pair = valueSymbol < 0 ? -1 : this.lookupPair(name, valueSymbol);
      if (pair >= 0) return pair;
    } else {
      name = this.makeName(tenant, this.symbols.acquire(bytes, nameStart, nameEnd));
    }
    this.madePair = true;
    return this.makePair(name, this.symbols.acquire(bytes, valueStart, valueEnd), this.newPairId());
  }

  /** Whether the last `internPair` made the pair. */
  madePair = false;

  /** For the replay of series.log: makes the pair under the id that the log gives it. False where the id is another's. */
  restorePair(tenant: Tenant, id: number, name: Uint8Array, value: Uint8Array): boolean {
    if (id >= PAIR_IDS_MAX) return false;
    while (this.pairSize <= id) this.releasePairId(this.growPairs());
    const symbol = this.symbols.find(name, 0, name.length);
    let nameId = symbol < 0 ? -1 : this.lookupName(tenant.index, symbol);
    if (this.pairName.get(id) !== FREE) {
      // A rewritten log may say a thing twice.
      return this.pairName.get(id) === nameId && this.pairValue.get(id) === this.symbols.find(value, 0, value.length);
    }
    if (nameId < 0) nameId = this.makeName(tenant, this.symbols.acquire(name, 0, name.length));
    const valueId = this.symbols.find(value, 0, value.length);
    if (valueId >= 0 && this.lookupPair(nameId, valueId) >= 0) return false;
    this.unlinkFreePair(id);
    this.makePair(nameId, this.symbols.acquire(value, 0, value.length), id);
    return true;
  }

  isPairAlive(id: number): boolean {
    return id < this.pairSize && this.pairName.get(id) !== FREE;
  }

  // --- series ---

  /** Stores a label set and adds the series to its postings; returns the address of the label list. */
  addSeries(tenant: Tenant, ref: number, pairs: Uint32Array, count: number): number {
    const address = this.lists.alloc(count + 1);
    const page = this.lists.page(address);
    const at = this.lists.offset(address);
    page[at] = count;
    for (let i = 0; i < count; i++) {
      page[at + 1 + i] = pairs[i] as number;
      this.postings.push(pairs[i] as number, ref);
    }
    this.allSeries.push(tenant.index, ref);
    tenant.seriesCount++;
    return address;
  }

  /** Frees a label list; its postings must have been compacted. */
  freeList(address: number): void {
    this.lists.release(address, this.lists.get(address) + 1);
  }

  labels(address: number): Labels {
    const page = this.lists.page(address);
    const at = this.lists.offset(address);
    const count = page[at] as number;
    const out: string[] = [];
    for (let i = 1; i <= count; i++) {
      const pair = page[at + i] as number;
      out.push(this.nameText(this.pairName.get(pair)), this.valueText(pair));
    }
    return out;
  }

  /** The pair that a series has for a name, or -1. */
  pairOf(address: number, name: number): number {
    const page = this.lists.page(address);
    const at = this.lists.offset(address);
    const end = at + (page[at] as number);
    for (let i = at + 1; i <= end; i++) {
      const pair = page[i] as number;
      if (this.pairName.get(pair) === name) return pair;
    }
    return -1;
  }

  hasPair(address: number, pair: number): boolean {
    const page = this.lists.page(address);
    const at = this.lists.offset(address);
    const end = at + (page[at] as number);
    for (let i = at + 1; i <= end; i++) if (page[i] === pair) return true;
    return false;
  }

  /** Drops dead refs from a list; frees the pair (and its name) when nothing is left. Returns whether it did. */
  compactPair(pair: number, keep: (ref: number) => boolean): boolean {
    this.postings.compact(pair, keep);
    if (this.postings.count(pair) > 0) return false;
    const name = this.pairName.get(pair);
    this.pairTable.remove(hashIds(name, this.pairValue.get(pair)), pair);
    this.symbols.release(this.pairValue.get(pair));
    unlink(this.pairNext, this.pairPrevious, this.nameFirst, name, pair);
    this.releasePairId(pair);
    const left = this.namePairs.get(name) - 1;
    this.namePairs.set(name, left);
    if (left === 0) this.freeName(name);
    return true;
  }

  get pairIdsEnd(): number {
    return this.pairSize;
  }

  get bytes(): number {
    let total = this.symbols.bytes + this.postings.bytes + this.allSeries.bytes + this.lists.bytes;
    total += this.pairTable.bytes + this.nameTable.bytes;
    for (const c of [this.pairName, this.pairValue, this.pairNext, this.pairPrevious]) total += c.bytes;
    for (const c of [this.nameTenant, this.nameSymbol, this.nameFirst, this.namePairs]) total += c.bytes;
    return total + this.nameNext.bytes + this.namePrevious.bytes;
  }

  // --- rows ---

  private lookupName(tenant: number, symbol: number): number {
    this.wantedA = tenant;
    this.wantedB = symbol;
    return this.nameTable.find(hashIds(tenant, symbol), this.isName);
  }

  private lookupPair(name: number, symbol: number): number {
    this.wantedA = name;
    this.wantedB = symbol;
    return this.pairTable.find(hashIds(name, symbol), this.isPair);
  }

  private makePair(name: number, valueSymbol: number, id: number): number {
    this.pairName.set(id, name);
    this.pairValue.set(id, valueSymbol);
    link(this.pairNext, this.pairPrevious, this.nameFirst, name, id);
    this.namePairs.set(name, this.namePairs.get(name) + 1);
    this.pairTable.add(hashIds(name, valueSymbol), id);
    this.postings.open(id);
    return id;
  }

  private newPairId(): number {
    if (this.pairFree === 0) return this.growPairs();
    const id = this.pairFree - 1;
    this.unlinkFreePair(id);
    return id;
  }

  private growPairs(): number {
    const id = this.pairSize++;
    for (const column of [this.pairName, this.pairValue, this.pairNext, this.pairPrevious]) column.reserve(id);
    return id;
  }

  /** Free ids form a chain of their own, doubly linked, so that the replay can take any of them. */
  private releasePairId(id: number): void {
    this.pairName.set(id, FREE);
    this.pairNext.set(id, this.pairFree);
    this.pairPrevious.set(id, 0);
    if (this.pairFree !== 0) this.pairPrevious.set(this.pairFree - 1, id + 1);
    this.pairFree = id + 1;
  }

  private unlinkFreePair(id: number): void {
    const next = this.pairNext.get(id);
    const previous = this.pairPrevious.get(id);
    if (previous === 0) this.pairFree = next;
    else this.pairNext.set(previous - 1, next);
    if (next !== 0) this.pairPrevious.set(next - 1, previous);
  }

  private makeName(tenant: Tenant, symbol: number): number {
    let id: number;
    if (this.nameFree !== 0) {
      id = this.nameFree - 1;
      this.nameFree = this.nameNext.get(id);
    } else {
      id = this.nameSize++;
      for (const column of [this.nameTenant, this.nameSymbol, this.nameFirst]) column.reserve(id);
      for (const column of [this.namePairs, this.nameNext, this.namePrevious]) column.reserve(id);
    }
    this.nameTenant.set(id, tenant.index);
    this.nameSymbol.set(id, symbol);
    this.nameFirst.set(id, 0);
    this.namePairs.set(id, 0);
    this.namePrevious.set(id, 0);
    this.nameNext.set(id, tenant.firstName);
    if (tenant.firstName !== 0) this.namePrevious.set(tenant.firstName - 1, id + 1);
    tenant.firstName = id + 1;
    this.nameTable.add(hashIds(tenant.index, symbol), id);
    return id;
  }

  private freeName(id: number): void {
    const tenant = this.tenants[this.nameTenant.get(id)] as Tenant;
    this.nameTable.remove(hashIds(tenant.index, this.nameSymbol.get(id)), id);
    this.symbols.release(this.nameSymbol.get(id));
    const next = this.nameNext.get(id);
    const previous = this.namePrevious.get(id);
    if (previous === 0) tenant.firstName = next;
    else this.nameNext.set(previous - 1, next);
    if (next !== 0) this.namePrevious.set(next - 1, previous);
    this.nameNext.set(id, this.nameFree);
    this.nameFree = id + 1;
  }
}

/** Stands in the name column of pairs that are free. */
const FREE = 0xffffffff;

/** Doubly linked chains of ids + 1 in columns, one chain per owner. */
function link(next: U32Column, previous: U32Column, first: U32Column, owner: number, id: number): void {
  const head = first.get(owner);
  next.set(id, head);
  previous.set(id, 0);
  if (head !== 0) previous.set(head - 1, id + 1);
  first.set(owner, id + 1);
}

function unlink(next: U32Column, previous: U32Column, first: U32Column, owner: number, id: number): void {
  const after = next.get(id);
  const before = previous.get(id);
  if (before === 0) first.set(owner, after);
  else next.set(before - 1, after);
  if (after !== 0) previous.set(after - 1, before);
}
