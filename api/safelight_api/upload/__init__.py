"""Bytes in: from the network into the store, judged on the way by their header, never held whole.

    receive     the one entry, `receive_body`: a request's body -> the files it held, stored, and its fields
    multipart   a multipart body as a stream of parts
    sniff       what kind of image, how wide, how high: from its first bytes, without an image library

Called by routes/submit. Free of the web framework: a body is an `AsyncIterator[bytes]`. Afterwards
the route enqueues the job; or deletes what was stored, when there is to be none.
"""
