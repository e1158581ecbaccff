"""Image bytes: written once, streamed, never held whole.

    store      the interface, the rules for keys, `open_store(url, pool)`
    postgres   the default: bytes beside the jobs, so that pods share Postgres and nothing else
    files      a folder, for one machine

Called by the API (uploads in, files out) and the processor (inputs in, outputs out). Which bytes
belong to which job stands in the job; this room knows keys only.
"""
