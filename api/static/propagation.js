// How long posts of this page took to reach the nodes, from the receipts: one line each on a common axis.

import { count, visible } from "./format.js";

const ROWS_MAX = 8;
/** Receipts that the percentiles are of. */
const KEPT_MAX = 200;
const SCALES_MS = [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000];

const $ = (id) => document.getElementById(id);

export class Propagation {
  constructor() {
    this.kept = []; // newest first
  }

  /** Take a receipt; one without `reach` was not waited for. */
  add({ id, reach }) {
    if (!reach) return;
    this.kept.unshift({ id, reach });
    this.kept.length = Math.min(this.kept.length, KEPT_MAX);
    $("propagation").hidden = false;
    const shown = this.kept.slice(0, ROWS_MAX);
    const longest = Math.max(...shown.map((post) => post.reach.ms));
    const scale = SCALES_MS.find((most) => most >= longest) ?? longest;
    $("propagation-rows").replaceChildren(...shown.map((post) => row(post, scale)));
    $("propagation-axis").textContent = "";
    for (const part of [0, 0.5, 1]) {
      const mark = document.createElement("span");
      mark.textContent = `${count(part * scale)} ms`;
      $("propagation-axis").append(mark);
    }
    $("propagation-summary").textContent = summary(this.kept);
  }
}

function row({ id, reach }, scale) {
  const [item, name, track, dot, text] = ["li", "span", "span", "i", "span"].map((tag) => document.createElement(tag));
  name.className = "id";
  name.textContent = visible(id);
  track.className = "track";
  const whole = reach.ok === reach.of;
  dot.className = whole ? "whole" : "part";
  dot.style.left = `${Math.min(100, (100 * reach.ms) / scale)}%`;
  track.append(dot);
  text.className = "figure";
  text.textContent = `${reach.ok}/${reach.of} · ${count(reach.ms)} ms`;
  item.append(name, track, text);
  return item;
}

/** The percentiles of the posts that reached every node. Pure. */
export function summary(posts) {
  const times = posts.filter(({ reach }) => reach.ok === reach.of).map(({ reach }) => reach.ms).sort((a, b) => a - b);
  if (!times.length) return "";
  const at = (part) => times[Math.min(times.length - 1, Math.ceil(part * times.length) - 1)];
  return `p50 ${count(at(0.5))} ms · p99 ${count(at(0.99))} ms`;
}
