/** The cursor, `epoch:seq.n`: how far a watcher has come, ordered from left to right. Pure. */

const FORM = /^(\d{1,9}):(\d{1,9})(?:\.(\d{1,9}))?$/;

/** `[epoch, seq, n]`, or null when the text is no cursor. */
export function parse(text) {
  const match = FORM.exec(text ?? '');
  return match && [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
}

/** Whether `a` is further than `b`; no cursor is behind every cursor. */
export function isAfter(a, b) {
  return difference(parse(a), parse(b), 3) > 0;
}

/** Whether `a` knows a durable event that `b` does not; progress alone is no loss. */
export function isAhead(a, b) {
  return difference(parse(a), parse(b), 2) > 0;
}

function difference(a, b, parts) {
  if (!a || !b) return (a ? 1 : 0) - (b ? 1 : 0);
  for (let part = 0; part < parts; part++) {
    if (a[part] !== b[part]) return a[part] - b[part];
  }
  return 0;
}
