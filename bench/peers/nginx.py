"""nginx with one worker, the bodies as static files, no access log: what a machine does without Python."""

from __future__ import annotations

from pathlib import Path

TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
CONFIG = """daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/json;
    types {{ }}
    keepalive_requests 10000000;
{temporary}
    server {{ listen 127.0.0.1:{port}; root {bodies}; }}
}}
"""


def command(program: str, folder: Path, bodies: Path, port: int) -> list[str]:
    """Writes a configuration of its own into `folder`; the command that runs nginx with it."""
    temporary = "\n".join(f"    {name}_temp_path {folder}/{name};" for name in TEMPORARY)
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, bodies=bodies, temporary=temporary))
    return [program, "-c", str(config), "-e", str(folder / "nginx.log")]
