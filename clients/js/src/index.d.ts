/** The types of the client; protocol/README.md says what the fields mean. */

export type State = 'queued' | 'running' | 'succeeded' | 'failed' | 'canceled';

export interface ImageFile {
  name: string;
  media_type: string;
  /** Size in bytes. */
  bytes: number;
  /** px; 0 when it is no image. */
  width: number;
  height: number;
  sha256: string;
  /** A path on the service, with its own signature; `Safelight.url` makes it whole. */
  href: string;
}

export interface JobError {
  code: string;
  message: string;
  retryable: boolean;
}

export interface Job {
  id: string;
  pipeline: string;
  /** 0 waits for all others, 1 is normal, 3 is first. */
  priority: number;
  batch: string | null;
  /** Jobs of its pipeline before it; null when it does not wait for its turn. Not in lists. */
  queue_position: number | null;
  /** Seconds until the end, and of these until its begin; null when nobody can tell. Not in lists. */
  eta: { p50: number; p90: number; wait_p50: number; wait_p90: number } | null;
  state: State;
  reason: string;
  stage: string | null;
  status: string | null;
  /** 0 to 100; never falls within an attempt. */
  progress: number;
  attempt: number;
  max_attempts: number;
  cursor: string;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  expires_at: string | null;
  inputs: ImageFile[];
  outputs: ImageFile[];
  result: unknown;
  error: JobError | null;
  links: { self: string; live: string; events: string; cancel: string; retry: string };
  poll_after_ms: number;
  traceparent: string;
  /** Opens this one job; only in the answer to a submission. */
  token: string | null;
}

export interface StateFrame {
  type: 'state';
  ts: string;
  job: string;
  cursor: string;
  traceparent: string;
  state: State;
  reason: string;
  attempt: number;
  progress: number;
  error: JobError | null;
  outputs: ImageFile[];
}

export interface Pipeline {
  name: string;
  version: string;
  title: string;
  description: string;
  stages: { name: string; weight: number }[];
  /** JSON Schema of the params. */
  params: Record<string, unknown>;
  /** Seconds. */
  deadline: number;
  max_inputs: number;
  max_pixels: number;
  max_attempts: number;
}

export type Source = 'websocket' | 'long-poll' | 'poll';

export interface Connection {
  /** What news come by; null before the first. */
  source: Source | null;
  /** Of the socket; while it is not connected, polling goes on. */
  status: 'connecting' | 'connected' | 'disconnected';
  session: string | null;
  /** The last failure to poll, as long as nothing else came through. */
  error: SafelightError | null;
  /** Of the socket: 0 connecting, 1 open, 2 closing, 3 closed. */
  readyState: number;
  cursor: string | null;
}

export interface UploadProgress {
  file: Blob;
  /** Which one of the list, from 0. */
  index: number;
  count: number;
  sentBytes: number;
  totalBytes: number;
  /** Of the whole list, 0 to 100. */
  percent: number;
  /** From 1; more than that means that it began anew. */
  attempt: number;
}

export interface SubmitOptions {
  pipeline: string;
  params?: Record<string, unknown>;
  /** 0 to 3, 1 unless given. */
  priority?: number;
  signal?: AbortSignal;
  onUpload?(progress: UploadProgress): void;
}

export interface SubmitResult {
  file: Blob;
  job: Job | null;
  error: SafelightError | null;
}

export interface WatchOptions {
  /** The job's token, where the client does not know it. */
  token?: string;
  transport?: 'auto' | 'polling';
  signal?: AbortSignal;
  /** Once at the start when the job is known, at every change, and once at the end. */
  onChange?(job: Job, connection: Connection): void;
  onConnection?(connection: Connection): void;
  /** The watch has ended before the job did. */
  onError?(error: SafelightError): void;
}

export interface Watch extends AsyncIterable<Job> {
  /** The job at its end. */
  readonly done: Promise<Job>;
  readonly job: Job | null;
  readonly connection: Connection;
  /** Ends the watch, not the job. */
  stop(): void;
}

export interface Options {
  /** Where the service is; the page's own origin by default. */
  url?: string | URL;
  /** An API key. */
  key?: string | null;
  transport?: 'auto' | 'polling';
  /** Hears what `localStorage.debug = 'safelight:*'` prints. */
  onEvent?(event: string, details: Record<string, unknown>): void;
  fetch?: typeof fetch;
  WebSocket?: unknown;
  XMLHttpRequest?: unknown;
  storage?: Pick<Storage, 'getItem' | 'setItem'>;
  console?: Pick<Console, 'log'>;
  clock?: {
    now(): number;
    setTimeout(callback: () => void, ms: number): unknown;
    clearTimeout(timer: unknown): void;
    random(): number;
  };
  document?: Document;
  window?: EventTarget;
  navigator?: Navigator;
  timing?: Partial<Record<'goodAfterMs' | 'silenceMs' | 'pollMs' | 'probeMs' | 'getMs' | 'retryMs', number>>;
}

export class Safelight {
  constructor(options?: Options);
  set key(key: string | null);
  set transport(transport: 'auto' | 'polling');
  submit(file: Blob, options: SubmitOptions & { id?: string; name?: string }): Promise<Job>;
  submit(files: Iterable<Blob>, options: SubmitOptions & { id?: string; together: true }): Promise<Job>;
  submit(
    files: Iterable<Blob>,
    options: SubmitOptions & { onResult?(result: SubmitResult & { index: number }): void },
  ): Promise<SubmitResult[]>;
  watch(jobOrId: Job | string, options?: WatchOptions): Watch;
  get(id: string, options?: { signal?: AbortSignal }): Promise<Job>;
  cancel(id: string): Promise<Job>;
  retry(id: string): Promise<Job>;
  list(options?: {
    state?: State;
    pipeline?: string;
    limit?: number;
    page?: string;
    signal?: AbortSignal;
  }): Promise<{ jobs: Job[]; next: string | null }>;
  events(id: string): Promise<StateFrame[]>;
  pipelines(options?: { signal?: AbortSignal }): Promise<Pipeline[]>;
  url(path: string): string;
  trust(id: string, token: string | null): void;
}

export class SafelightError extends Error {
  /** One of `GET /api/problems`, or `network`, `timeout`, `aborted`, `http_STATUS`. */
  readonly code: string;
  /** Whether the same call can succeed later. */
  readonly retryable: boolean;
  readonly status: number;
  readonly retryAfterMs: number | null;
  readonly errors: { path: string; message: string }[];
}

export function hasEnded(job: Pick<Job, 'state'> | null | undefined): boolean;
export function uuid7(now?: number): string;
