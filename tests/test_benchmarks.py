"""The benchmarks: what a run costs, who is measured, which floors are reached, and servers."""

import json
import re
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from short_form import short_form

pytest.importorskip("benchmarks", reason="benchmarks/ is in a checkout only")
if sys.platform == "win32":
    pytest.skip("the benchmarks need a Unix", allow_module_level=True)

from benchmarks import children, clients, floors, latency, machine, measure, names, workloads
from benchmarks.children import ServerError, UnsupportedError
from benchmarks.clients import Load
from benchmarks.floors import Floor
from benchmarks.latency import EngineLatency, Percentiles
from benchmarks.measure import Run, RunError, Surroundings
from benchmarks.nginx import executable
from benchmarks.servers import resolver
from benchmarks.turns import Outcome, Row

CLIENTS = clients.by_name()
BUSY = "import time\nwhile time.process_time() < 0.3: pass\nprint('done')"


def run(wall: float = 1.0, *, cpu: float = 0.5, peak: int = 40_000_000, others: float = 0.0) -> Run:
    return Run(
        wall=wall,
        cpu=cpu,
        peak=peak,
        status=0,
        server_cpu=0.1,
        others=others,
        out=Path("out"),
        err=Path("err"),
    )


def outcome(workload: str, **runs: Sequence[Run]) -> Outcome:
    """Return the outcome of a workload in full size, in which some clients have runs."""
    (found,) = [one for one in workloads.all_workloads(quick=False) if one.name == workload]
    rows = [
        Row(client=CLIENTS[name], concurrency=100, urls=found.urls, runs=list(made))
        for name, made in runs.items()
    ]
    return Outcome(workload=found, rows=tuple(rows))


def floor(found: Sequence[Floor], figure: str) -> Floor:
    (one,) = [one for one in found if one.figure == figure]
    return one


# Measuring


def test_a_run_has_the_cost_and_the_output_of_the_process(tmp_path: Path) -> None:
    made = measure.run([sys.executable, "-c", BUSY], tmp_path)
    assert (made.status, made.out.read_text()) == (0, "done\n")
    assert 0.3 <= made.cpu <= made.wall * 1.2
    assert 1e6 < made.peak < 1e9


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_server_uses_is_not_counted_as_the_use_of_others(tmp_path: Path) -> None:
    """A server is as busy as the client: without its share, others would have used it."""
    endless = [sys.executable, "-c", "while True: pass"]
    with children.running(endless, folder=tmp_path) as server:
        known = measure.run(
            [sys.executable, "-c", BUSY], tmp_path, Surroundings(servers=(server.pid,))
        )
        unknown = measure.run([sys.executable, "-c", BUSY], tmp_path)
    assert known.server_cpu is not None
    assert known.server_cpu > 0.1
    assert unknown.server_cpu == 0
    assert known.others is not None
    assert unknown.others is not None
    assert known.others < unknown.others <= 1.1


def test_a_prefix_runs_the_command_in_its_place(tmp_path: Path) -> None:
    around = Surroundings(prefix=("env", "PLACE=elsewhere"))
    code = "import os; print(os.environ['PLACE'])"
    assert measure.run([sys.executable, "-c", code], tmp_path, around).out.read_text() == (
        "elsewhere\n"
    )


def test_a_command_that_does_not_exist_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be run"):
        measure.run([str(tmp_path / "missing")], tmp_path)


def test_the_python_that_is_measured_is_named_with_its_build() -> None:
    assert re.fullmatch(r"\w+ 3\.\d+\.\d+\S* \(.*(optimisations|'s)\)", machine.python())


# Clients


@pytest.mark.parametrize("name", [n for n, c in CLIENTS.items() if c.succeeded is not None])
def test_a_run_counts_only_if_all_urls_succeeded(name: str, tmp_path: Path) -> None:
    """One URL of a port on which nobody listens: whatever a client writes, it is no success."""
    if CLIENTS[name].missing is not None:
        pytest.skip(CLIENTS[name].missing or "")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "list.txt").write_text(f"http://127.0.0.1:{port}/page/0\n")
    load = Load(url_file=tmp_path / "list.txt", count=1, concurrency=10, ca=None)
    made = measure.run(CLIENTS[name].command(load), tmp_path)
    with pytest.raises(RunError, match=r"exit code|of 1 URLs"):
        CLIENTS[name].check(made, load)


def test_a_certificate_to_trust_is_given_to_every_client(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("https://127.0.0.1/\n")
    load = Load(url_file=tmp_path / "list.txt", count=1, concurrency=10, ca=tmp_path / "ca.pem")
    for client in CLIENTS.values():
        if client.succeeded is not None:
            given_to = " ".join([*client.command(load), *client.environ(load).values()])
            assert str(load.ca) in given_to, client.name


def test_clients_keep_the_bytecode_of_their_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert "PYTHONDONTWRITEBYTECODE" not in measure.environ()


# Floors


def test_a_rate_is_judged_by_the_median_of_the_rounds() -> None:
    found = floors.of_outcome(
        outcome("one-host", direct=[run(1.0), run(1.0), run(9.0)], lychee=[run(1.4)] * 3),
        quick=False,
    )
    one = floor(found, "direct / lychee, rates")
    assert (one.reached, one.measured, one.best) == (True, "1.40", "1.40")


@pytest.mark.parametrize(
    ("wall", "others", "reached"),
    [(2.0, 0.05, False), (2.0, 0.5, None), (0.5, 0.05, True), (0.5, 0.5, None)],
)
def test_a_ratio_counts_as_not_measured_if_others_used_the_machine(
    wall: float, others: float, reached: bool | None
) -> None:
    found = outcome("names", direct=[run(wall, others=others)], lychee=[run(1.0, others=others)])
    one = floor(floors.of_outcome(found, quick=False), "direct / lychee, rates")
    assert one.reached is reached
    assert one.measured.startswith(f"{1 / wall:.2f}")


@pytest.mark.parametrize(("wall", "reached"), [(0.2, None), (0.05, True)])
def test_others_only_lengthen_a_time_so_that_it_may_be_reached_in_spite_of_them(
    wall: float, reached: bool | None
) -> None:
    found = floors.of_outcome(outcome("startup", direct=[run(wall, others=0.5)]), quick=False)
    assert floor(found, "direct: time").reached is reached


def test_a_rate_without_its_peer_is_not_measured() -> None:
    found = floors.of_outcome(outcome("names", direct=[run()]), quick=False)
    assert floor(found, "direct / lychee, rates").reached is None


def test_cpu_time_and_memory_are_judged_whatever_others_do() -> None:
    costly = run(cpu=2.0, peak=90_000_000, others=0.9)
    found = floors.of_outcome(outcome("one-host", direct=[costly]), quick=False)
    cpu, peak = "direct: CPU per URL", "direct: peak memory, 20,000 URLs"
    assert [floor(found, figure).reached for figure in (cpu, peak)] == [False, False]
    assert [floor(found, figure).measured for figure in (cpu, peak)] == ["100.0 µs", "90.0 MB"]


def test_start_up_is_compared_with_the_import_of_the_same_round() -> None:
    rows = {"direct": [run(0.09), run(0.19)], "import typer": [run(0.05), run(0.15)]}
    found = floors.of_outcome(outcome("startup", **rows), quick=False)
    assert floor(found, "direct: time over python -c 'import typer'").measured == "40.0 ms"
    assert floor(found, "direct: time").reached is False


@pytest.mark.parametrize(("peak", "reached"), [(63_000_000, True), (70_000_000, False)])
def test_memory_that_grows_with_a_long_list_is_a_missed_floor(peak: int, reached: bool) -> None:
    found = outcome("memory", direct=[run()])
    counts = {250_000: 60_000_000, 1_000_000: peak}
    rows = [replace(found.rows[0], urls=n, runs=[run(peak=size)]) for n, size in counts.items()]
    found = Outcome(workload=found.workload, rows=(*found.rows, *rows))
    figure = "direct: peak memory, 1,000,000 URLs less 250,000"
    assert floor(floors.of_outcome(found, quick=False), figure).reached is reached


@pytest.mark.parametrize(("recorded", "reached"), [(57.5, True), (65.0, False)])
def test_latency_is_compared_with_what_the_server_measured(recorded: float, reached: bool) -> None:
    found = EngineLatency(
        engine="direct",
        concurrency=1_000,
        urls=10,
        problem=None,
        rates=[1.0],
        crawl=[Percentiles(p50=52.5, p99=recorded, max=90.0)],
        server=[Percentiles(p50=52.0, p99=54.0, max=60.0)],
    )
    p50, p99 = floors.of_latency([found])
    assert (p50.reached, p50.measured) == (True, "+0.50 ms")
    assert p99.reached is reached


# Servers


def query(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!xHH", kind, 1)


@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [
        ("host-1.bench.internal", resolver.A, 0, 1),
        ("HOST-1.Bench.Internal", resolver.A, 0, 1),
        ("host-1.bench.internal", resolver.AAAA, 0, 0),
        ("elsewhere.internal", resolver.A, 3, 0),
        ("bench.internal.elsewhere", resolver.A, 3, 0),
    ],
)
def test_names_of_the_zone_have_one_address_and_others_do_not_exist(
    name: str, kind: int, code: int, answers: int
) -> None:
    asked, response = resolver.respond(query(name, kind), "bench.internal")
    number, flags, questions, answered, *_ = struct.unpack_from("!6H", response)
    assert (asked, number, flags & 0xF, questions, answered) == (kind, 7, code, 1, answers)
    assert response.endswith(bytes([127, 0, 0, 1])) is bool(answers)


@given(st.binary(max_size=64))
def test_whatever_is_no_query_is_a_value_error(garbage: bytes) -> None:
    try:
        _, response = resolver.respond(garbage, "bench.internal")
    except ValueError:
        return
    assert response[:2] == garbage[:2]


def test_a_command_in_its_own_namespace_resolves_names_of_the_zone_only(tmp_path: Path) -> None:
    code = (
        "import socket; print(socket.gethostbyname('host-17.bench.internal'))\n"
        "try: print(socket.gethostbyname('elsewhere.invalid'))\n"
        "except socket.gaierror: print('none')"
    )
    try:
        with names.serve(tmp_path) as served:
            made = measure.run(
                [sys.executable, "-c", code], tmp_path, Surroundings(prefix=served.prefix)
            )
    except UnsupportedError as exc:
        pytest.skip(str(exc))
    assert made.out.read_text().split() == ["127.0.0.1", "none"], made.err.read_text()


def test_the_delayed_server_responds_after_its_delay_and_measures_that_itself(
    tmp_path: Path,
) -> None:
    try:
        executable = latency.compiled(tmp_path)
    except UnsupportedError as exc:
        pytest.skip(str(exc))
    with children.running([str(executable), "50"], folder=tmp_path) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        took = []
        with socket.create_connection(("127.0.0.1", port)) as connection:
            for _ in range(3):
                begun = time.monotonic()
                connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert connection.recv(4_096).endswith(b"hello")
                took.append(time.monotonic() - begun)
        report, _ = server.communicate(timeout=10)
    measured = json.loads(report)
    assert min(took) >= 0.05
    assert 50 <= measured["p50"] <= measured["max"] <= max(took) * 1000


def test_a_short_form_of_a_workload_runs_every_client_and_shows_its_floors() -> None:
    try:
        executable()
    except ServerError as exc:
        pytest.skip(str(exc))
    ended, verdicts = short_form("startup")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(verdicts) == 3
    assert "failed: " not in ended.stdout
