"""Who is measured: nginx and `serve_gateway`, one worker each, in front of the same three nginx ports."""
import os
import shlex

UPSTREAMS = ["127.0.0.1:%d" % port for port in (28081, 28082, 28083)]
PORT = 28090
BODY = b"x" * 1024
# Tools count `rep movsb` once per byte, a processor once: both sides copy with vectors.
NO_REP_MOVSB = "glibc.cpu.x86_rep_movsb_threshold=0x40000000"
MODES = {"bare": "", "full": "--full", "axum-bare": "--axum", "axum-full": "--axum --full"}


def nginx(folder, name, http, limit=4096):
    """nginx in the foreground, as one process: tools then follow one."""
    temporary = "".join(f"{kind}_temp_path {folder}/{name}-{kind};" for kind in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    path = os.path.join(folder, name + ".conf")
    with open(path, "w") as file:
        file.write(f"""daemon off; master_process off; pid {folder}/{name}.pid; error_log /dev/null;
events {{ worker_connections {limit}; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; tcp_nodelay on; {temporary} {http} }}""")
    return ["nginx", "-p", folder, "-e", "/dev/null", "-c", path]


def upstream(folder):
    root = os.path.join(folder, "root")
    os.mkdir(root)
    os.chmod(folder, 0o755)
    with open(os.path.join(root, "big"), "w") as file:
        file.write("y" * 16384)
    listen = " ".join(f"listen {one};" for one in UPSTREAMS)
    return nginx(folder, "upstream", f"""open_file_cache max=10; server {{ {listen} root {root};
location = /s {{ return 200 "{'x' * 128}"; }} location = /big {{ sendfile on; }} }}""")


def peer(folder):
    servers = " ".join(f"server {one};" for one in UPSTREAMS)
    return nginx(folder, "peer", f"""upstream u {{ {servers} keepalive 128; keepalive_requests 1000000000; }}
server {{ listen 127.0.0.1:{PORT}; location / {{ proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}""")


def contestants(folder, gateway, only):
    """Name and command of each in `only`, with its configuration in `folder`."""
    listen = f"{gateway} --listen 127.0.0.1:{PORT} --workers 1 --upstreams {','.join(UPSTREAMS)}"
    for which in only.split(","):
        yield which, peer(folder) if which == "nginx" else shlex.split(f"{listen} {MODES[which]}")
