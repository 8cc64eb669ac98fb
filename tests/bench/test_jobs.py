"""What fio's JSON says, and which jobs are meant."""

from typing import Any

import pytest

from tests.bench.jobs import JOBS, jobs_named, load_of


def way(ios: int, iops: float, p50_ns: int) -> dict[str, Any]:
    percentile = {"50.000000": p50_ns, "99.000000": 10 * p50_ns}
    return {
        "total_ios": ios, "iops": iops, "bw_bytes": iops * 1048576, "clat_ns": {"percentile": percentile},
    }  # fmt: skip


NOTHING = way(0, 0, 0)


def test_a_job_that_writes() -> None:
    load = load_of({"read": NOTHING, "write": way(500, 250, 8000)})
    assert (load.ios, load.iops, load.mib_per_s, load.p50_us, load.p99_us) == (500, 250, 250, 8, 80)


def test_a_mixed_job_is_both_with_the_latencies_of_its_reads() -> None:
    load = load_of({"read": way(70, 35, 4000), "write": way(30, 15, 8000)})
    assert (load.ios, load.iops, load.p50_us) == (100, 50, 4)


def test_no_io_is_no_result() -> None:
    with pytest.raises(RuntimeError, match="no I/O"):
        load_of({"read": NOTHING, "write": NOTHING})


def test_cpu_time_is_shared_among_the_ios() -> None:
    assert load_of({"read": way(500, 250, 8000), "write": NOTHING}).sample(0.01).cpu_us == 20


def test_jobs_by_parts_of_their_names() -> None:
    names = [job.name for job in jobs_named("1M,4k read QD1")]
    assert names == ["4k read QD1", "1M read QD4", "1M write QD4"]
    assert jobs_named("") == list(JOBS)


def test_a_name_means_itself_alone() -> None:
    """A guest is told of the jobs by their whole names."""
    assert [jobs_named(job.name) for job in JOBS] == [[job] for job in JOBS]


def test_no_job_of_a_name() -> None:
    with pytest.raises(ValueError, match="no job 2M; there are 4k read QD1, "):
        jobs_named("2M")
