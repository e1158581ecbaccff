"""The whole service on one machine: real servers from packages, and somebody who looks after them.

Called by `safelight up` and by the tests, which run the same servers without durability.

    part         one process: how to start it, when it is ready, how to stop it
    postgres     Postgres as a part
    redis        a Redis-compatible server as a part
    supervisor   starts parts in order, restarts what dies, stops everything
    log          what parts say, in files of bounded size
"""
