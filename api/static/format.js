// How things are written for people. Pure: no page, no clock.

/** Milliseconds as two units at most: "23 h 5 min", "42 s". */
export function duration(ms) {
  const s = Math.max(0, Math.ceil(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return s < 600 && s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 60)} min`;
  const minutes = Math.floor((s % 3600) / 60);
  return minutes ? `${Math.floor(s / 3600)} h ${minutes} min` : `${Math.floor(s / 3600)} h`;
}

/** A short time that was measured: "4 ms", "1.3 s", else as `duration`. */
export function measured(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms);
}

export const count = (n) => n.toLocaleString("en");

/** "1 node", "3 nodes". */
export const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

export function bytes(n) {
  if (n < 1024) return plural(n, "byte");
  return n < 1024 * 1024 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1024 / 1024).toFixed(1)} MiB`;
}

// Controls would vanish or, for the bidirectional ones, turn what stands around them: they are shown.
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

function picture(control) {
  const code = control.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  return `\\u${code.toString(16).padStart(4, "0")}`;
}

/** Text with its control characters made visible; newlines and tabs stay. */
export const visible = (text) => text.replace(CONTROLS, picture);

/** JSON up to this length stays on its line, unless it is asked for as JSON. */
const JSON_LINE_CHARS = 80;

/** A payload in one of the forms: "auto" is JSON where it is a longer object or list, else text. */
export function payload(raw, form) {
  if (form === "hex") return hexDump(raw);
  if (form === "json" || (form === "auto" && raw.length > JSON_LINE_CHARS && /^\s*[[{]/.test(raw))) {
    try {
      JSON.parse(raw);
      return visible(indented(raw));
    } catch { /* not JSON: as text */ }
  }
  return visible(raw);
}

/** JSON on lines of its own. Numbers and keys stay as they were written, which no parser would leave them. */
function indented(json) {
  let [out, depth] = ["", 0];
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[{[]\s*[}\]]|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    if (token === "{" || token === "[") {
      depth += 1;
      out += token + line();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      out += line() + token;
    } else if (token === ",") {
      out += token + line();
    } else {
      out += token === ":" ? ": " : token.length > 1 && /^[{[]/.test(token) ? token[0] + token.at(-1) : token;
    }
  }
  return out;
}

function hexDump(raw) {
  const data = new TextEncoder().encode(raw);
  const lines = [];
  for (let at = 0; at < data.length; at += 16) {
    const part = data.subarray(at, at + 16);
    const hex = Array.from(part, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = Array.from(part, (byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${hex.padEnd(47)}  ${text}`);
  }
  return lines.join("\n");
}

/** A word that a POSIX shell takes as it is. */
export const shellWord = (text) =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
