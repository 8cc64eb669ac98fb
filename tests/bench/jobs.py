"""What is measured: fio's jobs, and what one run of one of them gave."""

import json
import subprocess
from pathlib import Path
from typing import Any

import attrs

KIB = 1024
MIB = 1024 * KIB
SIZE_BYTES = 128 * MIB
"""Of every subject's disk, all of which is used."""


@attrs.frozen
class Job:
    """One fio job.  ``rw`` is fio's word; ``is_basic``: one of the six that the goals are about."""

    name: str
    rw: str
    block_bytes: int
    depth: int
    is_basic: bool = True
    more: tuple[str, ...] = ()

    @property
    def is_large(self) -> bool:
        """Whether bytes say more about it than I/Os."""
        return self.block_bytes >= MIB


JOBS = (
    Job("4k read QD1", "randread", 4 * KIB, 1),
    Job("4k write QD1", "randwrite", 4 * KIB, 1),
    Job("4k read QD32", "randread", 4 * KIB, 32),
    Job("4k write QD32", "randwrite", 4 * KIB, 32),
    Job("1M read QD4", "read", MIB, 4),
    Job("1M write QD4", "write", MIB, 4),
    Job("8k 70/30 QD16", "randrw", 8 * KIB, 16, is_basic=False, more=("--rwmixread=70",)),
)


@attrs.frozen
class Sample:
    """One run.  ``cpu_us`` is what the subject's processes, if it has any, used for one I/O, user and system."""

    iops: float
    mib_per_s: float
    p50_us: float
    p99_us: float
    cpu_us: float


@attrs.frozen
class Load:
    """What fio reports of one run."""

    ios: int
    iops: float
    mib_per_s: float
    p50_us: float
    p99_us: float

    def sample(self, cpu_s: float) -> Sample:
        """With the CPU time of those who served it."""
        cpu_us = cpu_s * 1e6 / max(self.ios, 1)
        return Sample(self.iops, self.mib_per_s, self.p50_us, self.p99_us, cpu_us)


def jobs_named(words: str) -> list[Job]:
    """The jobs that have one of these, separated by commas, in their names; ValueError: there is none."""
    found = [job for job in JOBS if any(word in job.name for word in words.split(","))]
    if not found:
        raise ValueError(f"no job {words}; there are {', '.join(job.name for job in JOBS)}")
    return found


def run_fio(job: Job, file: Path, runtime_s: float) -> Load:
    """Run one job on one file, which is there and has `SIZE_BYTES`.

    Raises:
        RuntimeError: fio failed, or an I/O did.
    """
    command = [
        "fio",
        f"--name={job.rw}",
        f"--filename={file}",
        "--allow_file_create=0",
        f"--rw={job.rw}",
        f"--bs={job.block_bytes}",
        f"--iodepth={job.depth}",
        f"--size={SIZE_BYTES}",
        f"--runtime={round(runtime_s * 1000)}ms",
        "--time_based",
        "--ioengine=libaio",
        "--direct=1",
        "--invalidate=0",
        "--norandommap",
        "--output-format=json",
        *job.more,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"fio, {job.name} on {file}: {done.stderr.strip() or done.stdout[-500:]}"
        )
    return load_of(json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0])


def load_of(told: dict[str, Any]) -> Load:
    """What fio's JSON says of one job; of a mixed one the latencies of its reads."""
    ways = [told[way] for way in ("read", "write") if told[way]["total_ios"]]
    if not ways:
        raise RuntimeError("fio did no I/O at all")
    percentiles = ways[0]["clat_ns"]["percentile"]
    return Load(
        ios=sum(way["total_ios"] for way in ways),
        iops=sum(way["iops"] for way in ways),
        mib_per_s=sum(way["bw_bytes"] for way in ways) / MIB,
        p50_us=percentiles["50.000000"] / 1000,
        p99_us=percentiles["99.000000"] / 1000,
    )
