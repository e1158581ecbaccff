/** The jobs of this browser, with the tokens that open them, for the next visit. */

const NAME = 'safelight.jobs';
const MOST = 50;

/** `[{id, token, name}]`, newest first. */
export function remembered() {
  try {
    const jobs = JSON.parse(localStorage.getItem(NAME));
    return Array.isArray(jobs) ? jobs : [];
  } catch {
    return [];
  }
}

export function remember({ id, token }, name) {
  write([{ id, token, name }, ...remembered().filter((job) => job.id !== id)].slice(0, MOST));
}

export function forget(id) {
  write(remembered().filter((job) => job.id !== id));
}

/** Takes a job off the list for good; the service keeps it as long as it keeps it. */
export function hide(id) {
  forget(id);
  set('hidden', [id, ...hidden()].slice(0, 4 * MOST).join(' '));
}

export function isHidden(id) {
  return hidden().includes(id);
}

/** A small setting of this browser, null when there is none. */
export function setting(name) {
  try {
    return localStorage.getItem(`safelight.${name}`);
  } catch {
    return null;
  }
}

export function set(name, value) {
  try {
    if (value === null) localStorage.removeItem(`safelight.${name}`);
    else localStorage.setItem(`safelight.${name}`, value);
  } catch {
    // storage is forbidden or full: this visit works all the same
  }
}

function hidden() {
  return setting('hidden')?.split(' ') ?? [];
}

function write(jobs) {
  set('jobs', JSON.stringify(jobs));
}
