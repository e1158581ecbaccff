-- Generated from the migrations by `make generate`. Read it, never edit it.

CREATE TABLE public.api_key (
    tenant_id integer NOT NULL,
    id text NOT NULL,
    hash bytea NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone
);

CREATE TABLE public.attempt (
    tenant_id integer NOT NULL,
    job_id uuid NOT NULL,
    epoch integer NOT NULL,
    lease_epoch integer NOT NULL,
    attempt smallint NOT NULL,
    claimed_seq integer NOT NULL,
    claimed_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone DEFAULT now() NOT NULL,
    reason text NOT NULL,
    progress real NOT NULL,
    worker_id uuid NOT NULL,
    error jsonb,
    CONSTRAINT attempt_reason CHECK ((reason = ANY (ARRAY['retry'::text, 'released'::text, 'rescued'::text])))
);

CREATE TABLE public.blob (
    tenant_id integer NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    put_id uuid NOT NULL,
    bytes bigint NOT NULL,
    chunk_bytes integer NOT NULL,
    sha256 bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT blob_sha256 CHECK ((length(sha256) = 32))
);

CREATE TABLE public.blob_chunk (
    tenant_id integer NOT NULL,
    put_id uuid NOT NULL,
    n integer NOT NULL,
    data bytea NOT NULL
);
ALTER TABLE ONLY public.blob_chunk ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE public.blob_loose (
    tenant_id integer NOT NULL,
    put_id uuid NOT NULL,
    abandoned boolean DEFAULT false NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.done (
    tenant_id integer NOT NULL,
    job_id uuid NOT NULL,
    epoch integer NOT NULL,
    seq integer NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    attempt smallint NOT NULL,
    lease_epoch integer NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    claimed_at timestamp with time zone,
    started_at timestamp with time zone,
    finished_at timestamp with time zone DEFAULT now() NOT NULL,
    progress real NOT NULL,
    stage text,
    result jsonb,
    outputs jsonb DEFAULT '[]'::jsonb NOT NULL,
    error jsonb,
    CONSTRAINT done_state CHECK ((state = ANY (ARRAY['succeeded'::text, 'failed'::text, 'canceled'::text]))),
    CONSTRAINT failed_has_an_error CHECK (((state = 'failed'::text) = (error IS NOT NULL))),
    CONSTRAINT only_success_has_outputs CHECK (((state = 'succeeded'::text) OR ((outputs = '[]'::jsonb) AND (result IS NULL))))
);

CREATE TABLE public.job (
    tenant_id integer NOT NULL,
    id uuid NOT NULL,
    pipeline text NOT NULL,
    params jsonb NOT NULL,
    inputs jsonb NOT NULL,
    fingerprint bytea NOT NULL,
    idempotency_key text,
    max_attempts smallint NOT NULL,
    traceparent text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.ready (
    tenant_id integer NOT NULL,
    job_id uuid NOT NULL,
    place bigint NOT NULL,
    pipeline text NOT NULL,
    max_attempts smallint NOT NULL,
    epoch integer NOT NULL,
    seq integer NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    attempt smallint DEFAULT 0 NOT NULL,
    crashes smallint DEFAULT 0 NOT NULL,
    lease_epoch integer DEFAULT 0 NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    run_at timestamp with time zone DEFAULT now() NOT NULL,
    opened_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    worker_id uuid,
    lease_expires_at timestamp with time zone,
    cancel_requested_at timestamp with time zone,
    progress real DEFAULT 0 NOT NULL,
    progress_n integer DEFAULT 0 NOT NULL,
    stage text,
    status text,
    error jsonb,
    CONSTRAINT attempts_are_counted CHECK (((attempt >= 0) AND (attempt <= max_attempts))),
    CONSTRAINT ready_state CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text]))),
    CONSTRAINT running_has_a_lease CHECK (((state = 'running'::text) = ((lease_expires_at IS NOT NULL) AND (worker_id IS NOT NULL))))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_vacuum_cost_delay='0', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='2000');

CREATE VIEW public.job_now AS
 SELECT j.tenant_id,
    j.id,
    j.pipeline,
    j.max_attempts,
    j.inputs,
    j.traceparent,
    j.created_at,
    COALESCE(r.epoch, d.epoch) AS epoch,
    COALESCE(r.seq, d.seq) AS seq,
    COALESCE(r.state, d.state) AS state,
    COALESCE(r.reason, d.reason) AS reason,
    COALESCE(r.attempt, d.attempt) AS attempt,
    COALESCE(r.lease_epoch, d.lease_epoch) AS lease_epoch,
        CASE
            WHEN (r.job_id IS NOT NULL) THEN r.started_at
            ELSE d.started_at
        END AS started_at,
        CASE
            WHEN (r.state = 'running'::text) THEN r.since
            ELSE d.claimed_at
        END AS claimed_at,
    COALESCE(r.opened_at, d.opened_at) AS opened_at,
    COALESCE(r.progress, d.progress) AS progress,
    COALESCE(r.progress_n, 0) AS progress_n,
        CASE
            WHEN (r.job_id IS NOT NULL) THEN r.stage
            ELSE d.stage
        END AS stage,
    r.status,
        CASE
            WHEN (r.job_id IS NOT NULL) THEN r.error
            ELSE d.error
        END AS error,
    r.cancel_requested_at,
    d.finished_at,
    d.result,
    COALESCE(d.outputs, '[]'::jsonb) AS outputs
   FROM ((public.job j
     LEFT JOIN public.ready r ON (((r.tenant_id = j.tenant_id) AND (r.job_id = j.id))))
     LEFT JOIN LATERAL ( SELECT done.tenant_id,
            done.job_id,
            done.epoch,
            done.seq,
            done.state,
            done.reason,
            done.attempt,
            done.lease_epoch,
            done.opened_at,
            done.claimed_at,
            done.started_at,
            done.finished_at,
            done.progress,
            done.stage,
            done.result,
            done.outputs,
            done.error
           FROM public.done
          WHERE ((done.tenant_id = j.tenant_id) AND (done.job_id = j.id) AND (r.job_id IS NULL))
          ORDER BY done.epoch DESC
         LIMIT 1) d ON (true));

CREATE TABLE public.pipeline (
    name text NOT NULL,
    version text NOT NULL,
    declaration json NOT NULL,
    registered_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.ready ALTER COLUMN place ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.ready_place_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.schema_migration (
    number integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.signing_key (
    id integer NOT NULL,
    secret bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.signing_key ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.signing_key_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.tenant (
    id integer NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.tenant ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenant_id_seq
    START WITH 2
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT api_key_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (tenant_id, job_id, lease_epoch);

ALTER TABLE ONLY public.blob_chunk
    ADD CONSTRAINT blob_chunk_pkey PRIMARY KEY (tenant_id, put_id, n);

ALTER TABLE ONLY public.blob_loose
    ADD CONSTRAINT blob_loose_pkey PRIMARY KEY (tenant_id, put_id);

ALTER TABLE ONLY public.blob
    ADD CONSTRAINT blob_pkey PRIMARY KEY (tenant_id, key);

ALTER TABLE ONLY public.done
    ADD CONSTRAINT done_pkey PRIMARY KEY (tenant_id, job_id, epoch);

ALTER TABLE ONLY public.job
    ADD CONSTRAINT job_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.pipeline
    ADD CONSTRAINT pipeline_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.ready
    ADD CONSTRAINT ready_pkey PRIMARY KEY (tenant_id, job_id);

ALTER TABLE ONLY public.schema_migration
    ADD CONSTRAINT schema_migration_pkey PRIMARY KEY (number);

ALTER TABLE ONLY public.signing_key
    ADD CONSTRAINT signing_key_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tenant
    ADD CONSTRAINT tenant_name_key UNIQUE (name);

ALTER TABLE ONLY public.tenant
    ADD CONSTRAINT tenant_pkey PRIMARY KEY (id);

CREATE UNIQUE INDEX api_key_id ON public.api_key USING btree (id);

CREATE INDEX blob_loose_since ON public.blob_loose USING btree (since);

CREATE INDEX done_finished_at ON public.done USING brin (finished_at);

CREATE UNIQUE INDEX job_idempotency_key ON public.job USING btree (tenant_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);

CREATE INDEX job_newest ON public.job USING btree (tenant_id, created_at DESC, id DESC);

CREATE UNIQUE INDEX ready_place ON public.ready USING btree (place);

ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT api_key_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenant(id);
