/** One request, with typed errors and an end: by `fetch`, or by `XMLHttpRequest` where bytes going up are counted. */

import { aborted, fromThrown, timedOut } from './errors.js';

/** Answers `{status, text, header(name)}`, as `upload` does. `timeoutMs` counts until the whole answer is there. */
export async function ask({ fetch, clock, url, signal, timeoutMs = 30_000, ...request }) {
  const stop = new AbortController();
  const give = () => stop.abort(aborted(signal.reason));
  const timer = clock.setTimeout(() => stop.abort(timedOut()), timeoutMs);
  signal?.addEventListener('abort', give);
  if (signal?.aborted) give();
  try {
    const answer = await fetch(url, { ...request, signal: stop.signal, cache: 'no-store' });
    const text = answer.status === 304 ? '' : await answer.text();
    return { status: answer.status, text, header: (name) => answer.headers.get(name) };
  } catch (thrown) {
    throw fromThrown(stop.signal.reason ?? thrown);
  } finally {
    clock.clearTimeout(timer);
    signal?.removeEventListener('abort', give);
  }
}

/** May take as long as it moves; `stallMs` without a byte, or without the answer after the last one, end it. */
export function upload({ XMLHttpRequest, clock, method, url, headers, body, signal, onBytes, stallMs = 45_000 }) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(aborted(signal.reason));
    const request = new XMLHttpRequest();
    let timer;
    const alive = () => {
      clock.clearTimeout(timer);
      timer = clock.setTimeout(() => end(reject, timedOut()), stallMs);
    };
    const stop = () => end(reject, aborted(signal.reason));
    const end = (settle, value) => {
      clock.clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
      request.onload = request.onerror = request.upload.onprogress = null;
      request.abort();
      settle(value);
    };
    signal?.addEventListener('abort', stop);
    request.upload.onprogress = ({ loaded }) => {
      alive();
      onBytes(loaded);
    };
    request.onload = () => {
      const { status, responseText: text } = request;
      const retryAfter = request.getResponseHeader('Retry-After');
      end(resolve, { status, text, header: () => retryAfter });
    };
    request.onerror = () => end(reject, fromThrown());
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    alive();
    request.send(body);
  });
}
