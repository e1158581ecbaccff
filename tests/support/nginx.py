"""A real nginx in front of API pods: round robin, and with or without WebSockets."""

import os
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from support.ports import free_port
from support.processes import Process, process
from support.requires import require

_UPGRADE = """
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $hop;"""
_REFUSAL = """
      if ($http_upgrade) { return 403; }"""
_CONFIG = """
daemon off;
pid {folder}/pid;
error_log stderr warn;
worker_processes 1;
{user}
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 0;
  map $http_upgrade $hop {{ default upgrade; '' ''; }}
  upstream pods {{
{servers}
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://pods;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 120s;{upgrade}
    }}
  }}
}}
"""


@asynccontextmanager
async def nginx(upstreams: Sequence[str], *, websockets: bool = True) -> AsyncIterator[Process]:
    """nginx in front of these addresses (`http://127.0.0.1:PORT`), ready; without it the test is skipped."""
    binary, port = require("nginx"), free_port()
    # A pod that is away is asked again at once, not after the ten seconds of the default.
    servers = "\n".join(f"    server {url.removeprefix('http://')} fail_timeout=0;" for url in upstreams)
    with tempfile.TemporaryDirectory(prefix="safelight-nginx-") as folder:
        config = Path(folder, "nginx.conf")
        config.write_text(
            _CONFIG.format(
                folder=folder,
                port=port,
                servers=servers,
                user="user root;" if os.geteuid() == 0 else "",
                upgrade=_UPGRADE if websockets else _REFUSAL,
            )
        )
        argv = [binary, "-p", folder, "-e", "stderr", "-c", str(config)]
        async with process("nginx", argv, dict(os.environ), port) as running:
            await running.until(lambda: _listens(port), "listening")
            yield running


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
