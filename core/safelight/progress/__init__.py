"""The stream: how news of a job travels between processes, over Redis.

A hint: it may be lost, and never lies.


    keys     the key space, life times and channels, in one place
    stream   publish news, remember and read what a poller is told
    tail     one supervised subscription of a process

The truth is in Postgres, in another room; only a role joins the two. With Redis away everything
still happens, only later.
"""
