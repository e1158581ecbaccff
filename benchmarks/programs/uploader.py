"""Uploads a file once: `uploader.py raw|multipart METHOD URL FILE`; prints the seconds until the answer.

Called by areas/upload.py. It gives the kernel the file to send, so that the client costs next to nothing.
"""

import json
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

BOUNDARY = "safelight-bench-boundary"


def main() -> None:
    """One request."""
    kind, method, url, path = sys.argv[1], sys.argv[2], urlsplit(sys.argv[3]), Path(sys.argv[4])
    before = after = b""
    content_type = "image/jpeg"
    if kind == "multipart":
        content_type = f"multipart/form-data; boundary={BOUNDARY}"
        disposition = 'Content-Disposition: form-data; name="file"; filename="a.jpg"'
        before = f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
        after = f"\r\n--{BOUNDARY}--\r\n".encode()
    length = len(before) + path.stat().st_size + len(after)
    target = url.path + (f"?{url.query}" if url.query else "")
    head = f"{method} {target} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: {content_type}\r\n"
    head += f"Content-Length: {length}\r\nConnection: close\r\n\r\n"
    with (
        path.open("rb") as file,
        socket.create_connection((url.hostname, url.port), timeout=120) as connection,
    ):
        began = time.perf_counter()
        connection.sendall(head.encode() + before)
        connection.sendfile(file)
        connection.sendall(after)
        answer = connection.recv(65536)
        seconds = time.perf_counter() - began
    print(
        "result",
        json.dumps(
            {"status": int(answer.split(b" ", 2)[1]), "seconds": seconds, "said": answer.decode()[-500:]}
        ),
    )


if __name__ == "__main__":
    main()
