"""The API: stateless pods that take images in and show progress live.

    routes/   thin: read the request, call, answer
    upload/   bytes in: streamed, measured, decided by their header
    live/     news out: one hub a process, one session a socket
    web/      the page

A pod holds no truth: any of them may answer anything, and may be killed at any time.
"""
