/** Every way to fail, as one type. Codes are the server's, or `network`, `timeout`, `aborted`, `http_STATUS`. */

/** `code`, `message` for a person, `retryable`: whether the same call can succeed later. */
export class SafelightError extends Error {
  constructor(code, message, { retryable = false, status = 0, retryAfterMs = null, errors = [], cause } = {}) {
    super(message, { cause });
    Object.assign(this, { name: 'SafelightError', code, retryable, status, retryAfterMs, errors });
  }
}

/** What a failed answer says; one without a problem of ours comes from a box on the way. */
export function fromAnswer(status, text, retryAfter) {
  const problem = json(text);
  const typed = typeof problem?.code === 'string';
  return new SafelightError(
    typed ? problem.code : `http_${status}`,
    (typed && (problem.detail || problem.title)) || `The service answered with status ${status}.`,
    {
      status,
      retryable: typed ? problem.retryable === true : status >= 500 || status === 429 || status === 408,
      retryAfterMs: milliseconds(retryAfter),
      errors: problem?.errors ?? [],
    },
  );
}

/** What `fetch` or `XMLHttpRequest` threw. */
export function fromThrown(cause) {
  if (cause instanceof SafelightError) return cause;
  if (cause?.name === 'AbortError') return aborted(cause);
  return new SafelightError('network', 'The service cannot be reached.', { retryable: true, cause });
}

export function timedOut() {
  return new SafelightError('timeout', 'The service did not answer in time.', { retryable: true });
}

export function aborted(cause) {
  return new SafelightError('aborted', 'Stopped.', { cause });
}

/** `Retry-After`, seconds or a date, in milliseconds. */
export function milliseconds(retryAfter, now = Date.now()) {
  if (!retryAfter) return null;
  const wait = isNaN(retryAfter) ? Date.parse(retryAfter) - now : retryAfter * 1000;
  return isNaN(wait) ? null : Math.max(0, wait);
}

function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
