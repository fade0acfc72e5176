// The live feed: at most ROWS_MAX records, newest first by time stamp, drawn once per animation frame.
// Records are known by their digest, so that none is shown twice, whatever comes again.

import { RowView } from "./row.js";
import { count, plural } from "./format.js";

export const ROWS_MAX = 500;
/** Rows made in one frame: what takes about 5 ms, a third of a frame. The rest waits for the next. */
const ROWS_PER_FRAME = 60;
/** Digests remembered beyond the rows: what a node may send again after a break without showing it twice. */
const SEEN_MAX = 5000;
/** How often a screen reader is told how many came, at most. */
const SAY_MS = 5000;
const TICK_MS = 1000;
/** Up to this length of a life its bar moves visibly from tick to tick, and is drawn moving; else it steps. */
const BRISK_MS = 300_000;

const $ = (id) => document.getElementById(id);

export class Feed {
  /** @param {{now: () => number, nameOf: (source: string) => string}} node the node's clock, and names of peers */
  constructor(node, onPrefix) {
    this.node = node;
    this.entries = []; // newest first
    this.waiting = []; // not drawn yet
    this.held = []; // not shown while paused, or while the reader is further down
    this.byDigest = new Map(); // of rows, and of what waits
    this.seen = new Set();
    this.paused = false;
    this.atTop = true;
    this.caughtUpAt = Infinity;
    this.unsaid = 0;
    this.total = 0;
    this.form = "auto";
    this.search = "";
    this.rows = $("rows");
    this.onScreen = new Set();
    this.#observe();
    this.#controls(onPrefix);
    setInterval(() => this.#tick(), TICK_MS);
    setInterval(() => this.#say(), SAY_MS);
  }

  /** From now on what comes is news; what is older was there before. */
  caughtUp() {
    this.caughtUpAt = this.node.now() - 50;
    this.#count();
  }

  /** Forget everything: another prefix is followed. */
  clear() {
    for (const entry of this.entries) this.#forgetView(entry);
    this.entries = [];
    this.waiting = [];
    this.held = [];
    this.byDigest.clear();
    this.seen.clear();
    this.rows.replaceChildren();
    this.#count();
  }

  add(records) {
    const now = this.node.now();
    for (const record of records) {
      if (this.seen.has(record.digest) || record.expires_at <= now) continue;
      this.seen.add(record.digest);
      const ageMs = record.time_stamp >= this.caughtUpAt ? Math.max(0, now - record.time_stamp) : null;
      const entry = { record: lean(record), ageMs, view: null };
      this.byDigest.set(record.digest, entry);
      (this.#holds() ? this.held : this.waiting).push(entry);
      this.unsaid += 1;
    }
    this.#bound();
    this.#draw();
  }

  remove(digest) {
    const entry = this.byDigest.get(digest);
    if (!entry) return;
    this.byDigest.delete(digest);
    entry.gone = true;
    if (entry.view) this.#drop(entry);
    this.#draw();
  }

  #holds() {
    return this.paused || !this.atTop;
  }

  /** Keep the newest of what waits: the oldest would not be shown anyway. */
  #bound() {
    for (const list of [this.waiting, this.held]) {
      if (list.length > 2 * ROWS_MAX) {
        for (const entry of list.splice(0, list.length - ROWS_MAX)) {
          this.byDigest.delete(entry.record.digest);
        }
      }
    }
    if (this.seen.size > SEEN_MAX) {
      let spare = this.seen.size - SEEN_MAX / 2;
      for (const digest of this.seen) {
        if (spare-- <= 0) break;
        if (!this.byDigest.has(digest)) this.seen.delete(digest);
      }
    }
  }

  #draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      if (!this.#holds() && this.held.length) this.waiting.push(...this.held.splice(0));
      const part = this.waiting.splice(0, ROWS_PER_FRAME);
      for (const entry of part) if (!entry.gone) this.#insert(entry);
      while (this.entries.length > ROWS_MAX) {
        const last = this.entries.pop();
        this.byDigest.delete(last.record.digest);
        this.#forgetView(last);
      }
      this.#count();
      if (this.waiting.length) this.#draw();
    });
  }

  #insert(entry) {
    const time = entry.record.time_stamp;
    let at = 0;
    while (at < this.entries.length && this.entries[at].record.time_stamp > time) at += 1;
    if (at >= ROWS_MAX) {
      this.byDigest.delete(entry.record.digest);
      return;
    }
    entry.view = new RowView(entry, this.node, this.form);
    this.rows.classList.toggle("brisk", entry.record.expires_at - time <= BRISK_MS);
    entry.view.element.hidden = !this.#matches(entry);
    this.rows.insertBefore(entry.view.element, this.entries[at]?.view.element ?? null);
    this.entries.splice(at, 0, entry);
    this.observer.observe(entry.view.element);
  }

  #drop(entry) {
    const at = this.entries.indexOf(entry);
    if (at >= 0) this.entries.splice(at, 1);
    this.#forgetView(entry);
  }

  #forgetView(entry) {
    this.observer.unobserve(entry.view.element);
    this.onScreen.delete(entry.view.element);
    entry.view.element.remove();
  }

  /** One timer for all rows: what has expired goes, and the life of those on the screen is redrawn. */
  #tick() {
    const now = this.node.now();
    for (const entry of [...this.byDigest.values()]) {
      if (entry.record.expires_at <= now) this.remove(entry.record.digest);
    }
    for (const element of this.onScreen) element.view.drain(now, TICK_MS);
  }

  #count() {
    const shown = this.entries.filter((entry) => !entry.view.element.hidden).length;
    const held = this.held.filter((entry) => !entry.gone).length;
    $("feed-count").textContent = shown === this.entries.length ? `${count(shown)} shown` : `${count(shown)} of ${count(this.entries.length)}`;
    $("feed-empty").hidden = shown > 0;
    $("feed-empty").textContent = this.entries.length
      ? "Nothing that is shown here matches."
      : "Nothing here yet. Post a record, and it appears on every node.";
    $("feed-new").hidden = held === 0;
    $("feed-new").textContent = `${held > ROWS_MAX ? `${ROWS_MAX}+` : count(held)} new`;
  }

  #say() {
    if (this.unsaid && this.caughtUpAt !== Infinity) $("feed-says").textContent = `${plural(this.unsaid, "new record")}`;
    this.unsaid = 0;
  }

  #matches(entry) {
    if (!this.search) return true;
    return entry.record.raw.toLowerCase().includes(this.search) || entry.record.id.toLowerCase().includes(this.search);
  }

  #observe() {
    this.observer = new IntersectionObserver((changes) => {
      const now = this.node.now();
      for (const { target, isIntersecting } of changes) {
        if (isIntersecting) {
          this.onScreen.add(target);
          target.view.drain(now, 0);
        } else {
          this.onScreen.delete(target);
        }
      }
    });
    new IntersectionObserver(([change]) => {
      this.atTop = change.isIntersecting || change.boundingClientRect.top > 0;
      this.#draw();
    }).observe($("feed-top"));
  }

  #controls(onPrefix) {
    let timer;
    $("feed-prefix").addEventListener("input", ({ target }) => {
      clearTimeout(timer);
      timer = setTimeout(() => onPrefix(target.value), 250);
    });
    $("feed-search").addEventListener("input", ({ target }) => {
      this.search = target.value.toLowerCase();
      for (const entry of this.entries) entry.view.element.hidden = !this.#matches(entry);
      this.#count();
    });
    $("feed-format").addEventListener("change", ({ target }) => {
      this.form = target.value;
      for (const entry of this.entries) entry.view.show(this.form);
    });
    $("feed-pause").addEventListener("click", () => this.#pause(!this.paused));
    $("feed-new").addEventListener("click", () => {
      this.#pause(false);
      this.atTop = true;
      $("feed-body").scrollTop = 0;
      $("feed-body").focus({ preventScroll: true });
      if ($("feed").getBoundingClientRect().top < 0) $("feed").scrollIntoView();
      this.#draw();
    });
  }

  #pause(paused) {
    this.paused = paused;
    $("feed-pause").setAttribute("aria-pressed", String(paused));
    $("feed-pause").textContent = paused ? "Resume" : "Pause";
    this.#draw();
  }
}

/** Text kept of a record: 500 of the largest would be half a gigabyte. */
const RAW_CHARS_MAX = 16_384;

function lean(record) {
  const { id, raw, digest, time_stamp, expires_at, size, source } = record;
  const kept = raw.length > RAW_CHARS_MAX ? raw.slice(0, RAW_CHARS_MAX) : raw;
  return { id, raw: kept, whole: kept === raw, digest, time_stamp, expires_at, size, source };
}
