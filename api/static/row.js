// One record as a row: whose it is, what it says, how long it lives. Whatever came from a record is set as
// text, never as markup.

import { bytes, duration, measured, payload, visible } from "./format.js";

/** What of a payload is shown before it is opened. */
const BRIEF = { chars: 400, lines: 8 };
const LATE = 0.1;

export class RowView {
  constructor(entry, node, form) {
    this.record = entry.record;
    this.open = false;
    this.element = document.getElementById("row").content.firstElementChild.cloneNode(true);
    this.element.view = this;
    const part = (name) => this.element.querySelector(name);
    this.left = part(".left");
    this.bar = part(".life i");
    this.text = part(".payload");
    part(".id").textContent = visible(this.record.id);
    part(".whence").textContent = whence(entry, node);
    this.element.querySelector(".more button").addEventListener("click", () => {
      this.open = !this.open;
      this.show(this.form);
    });
    this.show(form);
    this.drain(node.now(), 0);
  }

  /** Draw the payload in a form. */
  show(form) {
    this.form = form;
    const { raw, whole, size, id } = this.record;
    const full = payload(raw, form);
    const brief = cut(full);
    this.text.textContent = this.open ? full : brief;
    const more = this.element.querySelector(".more");
    more.hidden = brief === full && whole;
    const button = more.querySelector("button");
    button.hidden = brief === full;
    button.textContent = this.open ? "Less" : `More of ${bytes(size)}`;
    button.setAttribute("aria-expanded", String(this.open));
    const link = more.querySelector("a");
    link.hidden = whole;
    if (!whole) link.href = `/v1/records/${encodeURIComponent(id)}`;
  }

  /** Set the bar to what is left of the life at `now`, moving there for `ms`. */
  drain(now, ms) {
    const { time_stamp, expires_at } = this.record;
    const left = Math.max(0, (expires_at - now - ms) / (expires_at - time_stamp));
    const text = `${duration(expires_at - now)} left`;
    if (this.left.textContent !== text) this.left.textContent = text;
    if (Math.abs(left - (this.drawn ?? -1)) < 0.001) return; // less than a pixel
    this.drawn = left;
    this.bar.style.transform = `scaleX(${left.toFixed(4)})`;
    this.element.classList.toggle("late", left < LATE);
  }
}

function whence({ record, ageMs }, node) {
  const from = record.source === undefined ? "" : record.source === "here" ? "posted here" : `from ${visible(node.nameOf(record.source))}`;
  const age = ageMs === null ? "" : `seen after ${measured(ageMs)}`;
  return [from, age].filter(Boolean).join(" · ");
}

function cut(text) {
  let end = Math.min(text.length, BRIEF.chars);
  for (let line = 0, at = -1; line < BRIEF.lines; line += 1) {
    at = text.indexOf("\n", at + 1);
    if (at < 0) break;
    if (line === BRIEF.lines - 1) end = Math.min(end, at);
  }
  return end < text.length ? `${text.slice(0, end)} …` : text;
}
