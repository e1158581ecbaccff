/** What the page says: states, sizes and failures in words. Pure; cards and the page use it. */

const HINTS = {
  image_unsupported: 'JPEG, PNG, WebP, GIF, TIFF and BMP are welcome.',
  network: 'Are you online?',
  rate_limited: 'Give it a minute.',
};

/** A failure for a person: its message, what does not fit, and what to do about it. */
export function failure(error) {
  const places = (error.errors ?? []).map(({ path, message }) => `${path ? `${path}: ` : ''}${message}`);
  return [error.message, ...places, HINTS[error.code]].filter(Boolean).join(' ');
}

/** What a job is doing, in a line. */
export function situation(job) {
  switch (job.state) {
    case 'queued':
      if (!job.attempt) return 'Waiting for its turn';
      return job.reason === 'retry' ? `Trying again soon, attempt ${job.attempt} of ${job.max_attempts} did not work` : 'Waiting to go on';
    case 'running':
      return [title(job.stage ?? 'starting'), job.status].filter(Boolean).join(' · ');
    case 'succeeded':
      return 'Done';
    case 'failed':
      return job.error ? failure(job.error) : 'It did not work.';
    default:
      return 'Canceled';
  }
}

/** The small print of a job: what was done, how long it took, which attempt. */
export function smallPrint(job) {
  const parts = [`${title(job.pipeline)} #${job.id.slice(-6)}`];
  if (job.attempt > 1) parts.push(`attempt ${job.attempt} of ${job.max_attempts}`);
  if (job.finished_at && job.started_at) parts.push(duration(Date.parse(job.finished_at) - Date.parse(job.started_at)));
  else if (job.finished_at === null && job.started_at) parts.push(`since ${clock(job.started_at)}`);
  if (job.finished_at) parts.push(clock(job.finished_at));
  return parts.join(' · ');
}

export function duration(ms) {
  if (ms < 950) return `${Math.max(0.1, ms / 1000).toFixed(1)} s`;
  if (ms < 59_500) return `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const unit = bytes < 999_500 ? ['kB', 1e3] : ['MB', 1e6];
  const value = bytes / unit[1];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit[0]}`;
}

/** `max_width` becomes `Max width`. */
export function title(name) {
  const text = String(name).replace(/[_-]+/g, ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function clock(time) {
  const date = new Date(time);
  const today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], today ? { timeStyle: 'short' } : { dateStyle: 'medium', timeStyle: 'short' });
}
