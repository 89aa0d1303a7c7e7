"""Take servers that are not healthy out of nginx, and put them back when they are.

    python watch.py /etc/ossicle/replicas.conf 10.0.0.11:50051=10.0.0.11:50052 10.0.0.12:50051

nginx itself learns that a server is gone only from a connection that is refused. A server that
takes connections and does not answer them (its recogniser has failed, its processors or its disk
stand still) stays in use. This asks each for its health every two seconds, writes the servers that
are to be used into a file that nginx includes, and has nginx read it; streams that run go on in
nginx's old processes. If none is healthy all stay in, for nginx can do no better.

Each server is HOST:PORT, or HOST:PORT=HOST:PORT with the address of its --health-port, which is in
clear text whatever the server speaks.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


class Replica:
    """A server.

    Args:
        name: HOST:PORT for nginx, with =HOST:PORT for its health if that is another.
    """

    def __init__(self, name: str) -> None:
        self.address, _, health = name.partition("=")
        # Left alone, gRPC tries a server that was away ever more seldom; and the health of a server
        # behind a proxy would be the proxy's.
        options = [
            ("grpc.initial_reconnect_backoff_ms", 500),
            ("grpc.max_reconnect_backoff_ms", 2000),
            ("grpc.enable_http_proxy", 0),
        ]
        self._channel = grpc.insecure_channel(health or self.address, options)

    def is_healthy(self, seconds: float) -> bool:
        """Whether it says within some time that it takes calls."""
        try:
            answer = health_pb2_grpc.HealthStub(self._channel).Check(
                health_pb2.HealthCheckRequest(), timeout=seconds
            )
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def lines(health: dict[str, bool]) -> str:
    """What nginx is to include, for servers by their address."""
    use_all = not any(health.values())
    return "".join(
        f"server {address} max_fails=1 fail_timeout=5s{'' if healthy or use_all else ' down'};\n"
        for address, healthy in health.items()
    )


def main() -> int:
    """Watch until stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("file", type=Path, help="included by nginx.conf in its upstream")
    parser.add_argument("replicas", nargs="+", metavar="HOST:PORT[=HOST:PORT]")
    parser.add_argument("--every", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--reload", default="nginx -s reload", metavar="COMMAND")
    given = parser.parse_args()
    replicas = [Replica(name) for name in given.replicas]
    unread = False
    with ThreadPoolExecutor(len(replicas)) as pool:
        while True:
            answers = pool.map(lambda replica: replica.is_healthy(given.every), replicas)
            health = {replica.address: ok for replica, ok in zip(replicas, answers, strict=True)}
            wanted = lines(health)
            if not given.file.exists() or given.file.read_text(encoding="utf-8") != wanted:
                draft = given.file.with_suffix(".new")
                draft.write_text(wanted, encoding="utf-8")
                draft.replace(given.file)
                print(time.strftime("%H:%M:%S"), wanted.replace("\n", " "), flush=True)
                unread = True
            if unread:
                # It fails while nginx does not run, which needs the file to start.
                unread = bool(subprocess.run(given.reload, shell=True).returncode)
                if unread:
                    print(f"{given.reload} has failed; trying again", file=sys.stderr)
            time.sleep(given.every)


if __name__ == "__main__":
    sys.exit(main())
