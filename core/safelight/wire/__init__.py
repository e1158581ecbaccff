"""What crosses a process: resources over HTTP, frames over sockets, the cursor, close codes.

`protocol/` is generated from this room. Nothing here knows where a value comes from or goes to.
"""
