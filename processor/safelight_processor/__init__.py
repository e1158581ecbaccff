"""The processor: claims jobs, runs each in a sandboxed child, reports.

app       the list of loops of this process
claims    free slot -> claim -> run
leases    one heartbeat for all runs; a lease that is lost stops its run
runs      one run: image -> child -> outcome -> queue
children  warm child processes: spawn, feed, kill, reap
outcome   how an ending is told to the queue (pure)
reporter  progress of the runs, coalesced, to Redis
drain     SIGTERM: finish or hand back
child/    the sandbox: no database, no Redis, no network
"""
