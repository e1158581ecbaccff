"""The sandbox: a child process that runs pipelines, and the parent's end of it.

Images are hostile, so nothing but a child decodes them. A child is started fresh and stays warm, runs one
job at a time, and is replaced when it dies, is killed or has done its share (`children.py` above keeps the
pool). It knows no database, no Redis and no network.

    protocol.py   the messages on the channel between parent and child; both import it
    __main__.py   the child: harden, import, say Ready, run tasks                  (child's side)
    task.py       one task: limits on, pipeline called, ending sent                (child's side)
    reporter.py   progress, at most 20 times a second                              (child's side)
    limits.py     what the process may do and use                                  (child's side)
    tree.py       finds and kills what a process has started                       (both)
    parent.py     one child: start it, run a task in it, kill it                   (parent's side)
    outputs.py    a look at the files that came back                               (parent's side)
    ending.py     how a run can end, and what a dead child died of                 (pure)
"""
