/** Safelight for browsers and Node; see README.md. */

export { Safelight } from './client.js';
export { SafelightError } from './errors.js';
export { hasEnded } from './job.js';
export { uuid7 } from './uuid.js';
