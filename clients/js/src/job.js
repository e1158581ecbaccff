/**
 * A job as a watcher sees it, and the rule of order: what is newer is applied, all else ignored. Pure.
 * A view is `{job, whole}`; it is not whole when pieced together from frames, which leave out what is large.
 */

import { isAfter } from './cursor.js';

const ENDED = new Set(['succeeded', 'failed', 'canceled']);

export function hasEnded(job) {
  return ENDED.has(job?.state);
}

/** The view after a whole job; the same view when it is old news. */
export function withJob(view, job) {
  return isAfter(job.cursor, view.job?.cursor) ? { job, whole: true } : view;
}

/** The same after a frame. */
export function withFrame(view, frame) {
  if (frame.type === 'snapshot') return frame.data ? withJob(view, frame.data) : view;
  if (!isAfter(frame.cursor, view.job?.cursor)) return view;
  if (frame.type === 'progress') return { job: { ...view.job, ...said(frame, PROGRESS) }, whole: view.whole };
  if (frame.type === 'state') return { job: withState(view.job, frame), whole: false };
  return view;
}

const PROGRESS = ['cursor', 'attempt', 'progress', 'stage', 'status'];
const STATE = ['cursor', 'state', 'reason', 'attempt', 'progress'];

function withState(job, frame) {
  const next = { ...job, id: frame.job, ...said(frame, STATE) };
  next.error = frame.error ?? null;
  if (frame.outputs?.length) next.outputs = frame.outputs;
  // A run that begins, or waits for its next attempt, has said nothing yet.
  if (!hasEnded(frame)) next.stage = next.status = null;
  return next;
}

function said(frame, names) {
  return Object.fromEntries(names.filter((name) => frame[name] !== undefined).map((name) => [name, frame[name]]));
}
