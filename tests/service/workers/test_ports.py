"""Ports that are kept for workers."""

from __future__ import annotations

import socket
import sys

import pytest
from ossicle.service.limits import Limits
from ossicle.service.workers.ports import check_platform, kept
from ossicle.service.workers.share import divided

linux = pytest.mark.skipif(sys.platform != "linux", reason="workers need Linux")


@linux
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_those_who_share_can_listen_and_connections_reach_them_alone(host: str) -> None:
    with kept(host, 0) as port, socket.socket() as worker:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        worker.bind(("127.0.0.1", port))
        worker.listen()
        for _ in range(8):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            worker.accept()[0].close()


@linux
@pytest.mark.parametrize("shared", [False, True])
def test_a_port_where_somebody_listens_is_taken(shared: bool) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}; is another server"):
            kept("127.0.0.1", port).__enter__()


@linux
def test_a_port_is_kept_once_before_anybody_listens_and_is_free_afterwards() -> None:
    with (
        kept("127.0.0.1", 0) as port,
        pytest.raises(OSError, match="is another server there"),
        kept("127.0.0.1", port),
    ):
        pass
    with kept("127.0.0.1", port) as again:
        assert again == port


@linux
def test_an_address_that_is_not_here_is_named() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0; Cannot assign"):
        kept("192.0.2.1", 0).__enter__()


def test_other_systems_are_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ValueError, match=r"needs Linux.*give clients all addresses"):
        check_platform()


@pytest.mark.parametrize("streams", [5, 7, 64, 200])
def test_the_parts_of_all_workers_are_the_whole(streams: int) -> None:
    parts = [divided(Limits(max_streams=streams), 5, number).max_streams for number in range(5)]
    assert sum(parts) == streams
    assert max(parts) - min(parts) <= 1
    with pytest.raises(ValueError, match="--max-streams is 4, less than --workers 5"):
        divided(Limits(max_streams=4), 5, 0)
