"""Two servers behind nginx, configured by the file we ship with its names and ports filled in."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from calls import TIMEOUT, free_port, until
from certificates import Certificates
from ossicle.data.sample import sample_path
from ossicle.service.client import OssicleError, Result, SpeechClient, Tls
from processes import Served, serve, stop
from trouble import LINEAR16, STEPS, Trouble, cut, finals

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
SHIPPED = Path(__file__).resolve().parents[2] / "deploy/nginx"
pytestmark = pytest.mark.skipif(NGINX is None, reason="there is no nginx here")


@dataclass
class Proxy:
    """An nginx.

    Attributes:
        address: where clients reach it.
        tls: how.
        folder: its files.
        process: the one that minds the others.
    """

    address: str
    tls: Tls
    folder: Path
    process: subprocess.Popen[bytes]

    def client(self) -> SpeechClient:
        return SpeechClient(self.address, tls=self.tls)

    def upstreams(self) -> list[str]:
        """The servers that the calls so far have gone to."""
        lines = (self.folder / "access.log").read_text(encoding="utf-8").splitlines()
        return [line.split()[-2] for line in lines]


@pytest.fixture
def replicas() -> Iterator[list[Served]]:
    with ThreadPoolExecutor() as pool:
        servers = list(pool.map(lambda _: serve("--metrics-port", "0"), range(2)))
    yield servers
    for server in servers:
        server.process.send_signal(signal.SIGCONT)
        server.kill()


@pytest.fixture
def proxy(replicas: list[Served], tmp_path: Path) -> Iterator[Proxy]:
    assert NGINX is not None
    port = free_port()
    certificates = Certificates(tmp_path)
    pair = certificates.issue("localhost")
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    filled = (SHIPPED / "nginx.conf").read_text(encoding="utf-8")
    for what, by in {
        "worker_processes auto;": "worker_processes 2;",
        "http {": f"http {{ {temporary}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server_name asr.example.org;": "server_name localhost;",
        "ssl_certificate server.pem;": f"ssl_certificate {pair.certificate};",
        "ssl_certificate_key server.key;": f"ssl_certificate_key {pair.key};",
        "access_log /var/log/nginx/ossicle.log": f"access_log {tmp_path}/access.log",
    }.items():
        assert filled.count(what) == 1, what
        filled = filled.replace(what, by)
    (tmp_path / "nginx.conf").write_text(filled, encoding="utf-8")
    listed = (SHIPPED / "replicas.conf").read_text(encoding="utf-8")
    for shipped, replica in zip(("10.0.0.11:50051", "10.0.0.12:50051"), replicas, strict=True):
        listed = listed.replace(shipped, replica.address)
    (tmp_path / "replicas.conf").write_text(listed, encoding="utf-8")
    (tmp_path / "access.log").touch(mode=0o666)
    options = f"daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log;"
    command = [NGINX, "-p", str(tmp_path), "-c", f"{tmp_path}/nginx.conf"]
    checked = subprocess.run([*command, "-t", "-g", options], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen([*command, "-g", options])
    found = Proxy(f"localhost:{port}", Tls(ca=certificates.authority()), tmp_path, process)
    with found.client() as client:
        assert until(lambda: answers(client.list_models), 20)
    yield found
    process.terminate()
    assert process.wait(20) == 0


def answers(call: Callable[[], object]) -> bool:
    try:
        call()
    except OssicleError:
        return False
    return True


def streams_active(replica: Served) -> int:
    """How many streams a server has, by its metrics."""
    page = replica.banner.split("metrics    ")[1].split("\n")[0]
    with urllib.request.urlopen(page, timeout=TIMEOUT) as response:
        text = response.read().decode()
    return round(sum(map(float, re.findall(r"^ossicle_streams_active\S* (\S+)$", text, re.M))))


def interrupted(
    proxy: Proxy, replicas: list[Served], speech: bytes, happen: Callable[[Served], None]
) -> tuple[list[Result], list[Result]]:
    """The results of a stream, and of one to whose server something happens in its midst."""
    chunks = cut(speech * 2)

    def happen_to_its_server() -> None:
        (its,) = [replica for replica in replicas if streams_active(replica)]
        happen(its)

    trouble = Trouble(happen_to_its_server, words=6, before=40)
    results = []
    with proxy.client() as client:
        undisturbed = list(client.stream(chunks, **LINEAR16, **STEPS))
        for result in client.stream(trouble.chunks(chunks), **LINEAR16, **STEPS):
            results.append(result)
            trouble.look_at(result)
    assert trouble.happened
    assert len({result.request_id for result in results}) == 2
    return undisturbed, results


def test_calls_and_streams_pass_through_as_they_are(proxy: Proxy, speech: bytes) -> None:
    with proxy.client() as client:
        assert client.health()
        whole = client.recognize(sample_path())
        assert whole.text
        streamed = list(client.stream(cut(speech), **LINEAR16, **STEPS))
        assert any(not result.is_final for result in streamed)
        assert streamed[-1].is_final
        with pytest.raises(OssicleError, match="there is no model 'gpt'"):
            client.recognize(sample_path(), model="gpt")
        for _ in range(4):
            client.list_models()
    assert until(lambda: len(set(proxy.upstreams())) == 2), "both servers are used"


def test_a_server_is_killed_in_a_sentence_and_no_word_is_lost(
    proxy: Proxy, replicas: list[Served], speech: bytes
) -> None:
    undisturbed, results = interrupted(proxy, replicas, speech, Served.kill)
    assert finals(results) == finals(undisturbed)
    with proxy.client() as client:
        for _ in range(4):
            assert client.recognize(sample_path()).text


def test_a_server_that_shuts_down_gets_no_more_calls_and_its_streams_go_on(
    proxy: Proxy, replicas: list[Served], speech: bytes
) -> None:
    undisturbed, results = interrupted(
        proxy, replicas, speech, lambda server: server.process.terminate()
    )
    assert finals(results) == finals(undisturbed)
    with proxy.client() as client:
        for _ in range(4):
            assert client.recognize(sample_path()).text


def test_a_server_that_stands_still_is_taken_out_and_put_back(
    proxy: Proxy, replicas: list[Served]
) -> None:
    listed = proxy.folder / "replicas.conf"
    reload = f"kill -HUP {proxy.process.pid}"
    watch = [sys.executable, str(SHIPPED / "watch.py"), str(listed), "--every", "0.5"]
    addresses = [replica.address for replica in replicas]
    frozen, alive = replicas
    watcher = subprocess.Popen([*watch, "--reload", reload, *addresses])

    def is_out() -> bool:
        return re.search(f"{frozen.address} .*down", listed.read_text(encoding="utf-8")) is not None

    try:
        frozen.process.send_signal(signal.SIGSTOP)
        assert until(is_out, 30)
        with proxy.client() as client:
            # nginx may still be starting the processes that have read the new list.
            assert until(lambda: answers(lambda: client.list_models(timeout=1.0)), 20)
            for _ in range(4):
                assert client.recognize(sample_path(), timeout=30).text
            frozen.process.send_signal(signal.SIGCONT)
            assert until(lambda: not is_out(), 30)
            assert client.recognize(sample_path()).text
    finally:
        watcher.terminate()
        watcher.wait()
    assert stop(alive) == 0


def test_a_watcher_keeps_what_nginx_needs_to_start(tmp_path: Path) -> None:
    """Its reload fails until nginx runs, and is repeated until then."""
    listed, runs, read = (tmp_path / name for name in ("replicas.conf", "runs", "read"))
    watch = [sys.executable, str(SHIPPED / "watch.py"), str(listed), "--every", "0.2"]
    reload = f"test -e {runs} && touch {read}"
    address = f"localhost:{free_port()}"
    watcher = subprocess.Popen(
        [*watch, "--reload", reload, address], stderr=subprocess.PIPE, text=True
    )
    try:
        assert watcher.stderr is not None
        for _ in range(2):
            assert "trying again" in watcher.stderr.readline()
            assert f"server {address} " in listed.read_text(encoding="utf-8")
        runs.touch()
        assert until(read.exists, 20)
        assert listed.exists()
    finally:
        watcher.terminate()
        watcher.wait()
