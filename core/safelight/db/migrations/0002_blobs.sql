-- Image bytes, for `SAFELIGHT_STORAGE_URL=postgres:` (storage/postgres.py).
-- Bytes are cut into chunks, each written in a short transaction of its own, so that a slow phone never holds
-- one open. The chunks of one upload carry its put_id:
--   blob         what can be read; its row is written last and names the put whose chunks it is made of
--   blob_loose   puts that no blob names: unfinished, given up, replaced or deleted; what stays here is pruned
--   blob_chunk   the bytes
-- A put begins in `blob_loose`; the statement that finishes it moves it to `blob`; deleting moves it back.
-- No foreign keys: a chunk would lock its put's row, and a delete would have to remove all chunks at once.

create table blob (
  tenant_id integer not null,
  key text collate "C" not null,          -- "C": bytewise, so that all keys under a prefix are one range
  put_id uuid not null,
  bytes bigint not null,
  chunk_bytes integer not null,           -- length of every chunk but the last
  sha256 bytea not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, key),
  constraint blob_sha256 check (length(sha256) = 32)
);

create table blob_loose (
  tenant_id integer not null,
  put_id uuid not null,
  abandoned boolean not null default false,            -- accepts no more chunks and cannot be finished
  since timestamptz not null default now(),
  primary key (tenant_id, put_id)
);
create index blob_loose_since on blob_loose (since);

create table blob_chunk (
  tenant_id integer not null,
  put_id uuid not null,
  n integer not null,                     -- from 0
  data bytea not null,
  primary key (tenant_id, put_id, n)
);
-- Images are compressed already; and a part of an uncompressed value can be read without reading all of it.
alter table blob_chunk alter column data set storage external;
