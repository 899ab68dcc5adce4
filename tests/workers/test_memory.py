"""Memory: what is measured is what is taken, and every way of running out of it is recognised."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from workers import memory
from workers.memory import is_out_of_memory, read_available_memory, read_peak_memory, start_peak_memory

ROOT = Path(__file__).parent.parent.parent
CPU = torch.device("cpu")
MIB = 2**20

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")


def run(program: str) -> list[str]:
    """The words that ``program`` prints, in a process of its own."""
    start = "import resource, torch\nfrom workers.memory import *\ncpu = torch.device('cpu')\n"
    result = subprocess.run([sys.executable, "-c", start + program], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_a_large_allocation_is_seen_and_forgotten_again() -> None:
    start_peak_memory(CPU)
    before = read_peak_memory(CPU)
    assert before is not None
    large = torch.ones(300 * MIB // 4)
    del large
    with_large = read_peak_memory(CPU)
    assert with_large is not None
    assert 290 * MIB < with_large - before < 340 * MIB
    start_peak_memory(CPU)
    after = read_peak_memory(CPU)
    assert after is not None
    assert after < with_large - 250 * MIB


def test_what_the_allocator_has_kept_of_earlier_work_does_not_hide_what_is_taken() -> None:
    (taken,) = run(f"""
for size in (31, 30, 20):
    torch.ones(size * {MIB // 4})  # glibc puts what is smaller on its heap from now on
earlier = [torch.ones({MIB}) for _ in range(14)]
pin = torch.ones(100)
del earlier
start_peak_memory(cpu)
before = read_peak_memory(cpu)
now = [torch.ones({MIB}) for _ in range(14)]
print(read_peak_memory(cpu) - before)
""")
    assert 52 * MIB < int(taken) < 60 * MIB


def test_without_the_right_to_forget_the_peak_is_that_of_the_whole_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "nothing here" / "clear_refs")
    start_peak_memory(CPU)
    assert (read_peak_memory(CPU) or 0) > 50 * MIB


def test_no_more_is_available_than_the_machine_has() -> None:
    total = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert 0 < (read_available_memory(CPU) or 0) < 1024 * total


def test_where_the_system_does_not_tell_nothing_is_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    assert read_peak_memory(CPU) is None


def write_group(folder: Path, version: int, limit: str, used: int, cached: int) -> None:
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}[version]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    prefix = "total_" if version == 1 else ""
    (folder / "memory.stat").write_text(f"anon 5\n\n{prefix}active_file 7\n{prefix}inactive_file {cached}\n")


@pytest.mark.parametrize("version", [1, 2])
def test_the_tightest_control_group_decides_and_cached_files_do_not_count(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, f"_GROUPS_{version}", tmp_path)
    monkeypatch.setattr(memory, f"_GROUPS_{3 - version}", tmp_path / "not mounted")
    (tmp_path / "own").write_text("7:cpu:/x\n3:memory,other:/outer/inner\n0::/outer/inner\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "own")
    unlimited = "max" if version == 2 else "9223372036854771712"
    write_group(tmp_path, version, unlimited, used=10**9, cached=0)
    write_group(tmp_path / "outer", version, "5000000", used=3_000_000, cached=1_000_000)
    write_group(tmp_path / "outer" / "inner", version, unlimited, used=1_000_000, cached=0)
    assert read_available_memory(CPU) == 3_000_000
    write_group(tmp_path / "outer" / "inner", version, "2000000", used=1_500_000, cached=0)
    assert read_available_memory(CPU) == 500_000
    write_group(tmp_path / "outer" / "inner", version, "2000000", used=2_500_000, cached=0)
    assert read_available_memory(CPU) == 0


def test_a_container_that_sees_only_its_own_group_is_limited_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").write_text("0::/../docker/0123\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "_GROUPS_2", tmp_path / "groups")
    write_group(tmp_path / "groups", 2, "5000000", used=3_000_000, cached=0)
    assert read_available_memory(CPU) == 2_000_000


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A real control group of 1 GiB."""
    version_2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    folder = Path("/sys/fs/cgroup" if version_2 else "/sys/fs/cgroup/memory") / f"adai-test-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("only who may make control groups can test with one; files of the same form stand for it")
    limit = folder / ("memory.max" if version_2 else "memory.limit_in_bytes")
    try:
        try:
            limit.write_text(str(1024 * MIB))
        except OSError:
            pytest.skip("control groups do not limit memory here; files of the same form stand for them")
        yield folder
    finally:
        folder.rmdir()


def test_a_real_control_group_limits_what_is_available(small_group: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(200 * MIB))
    free, after_reading, after_taking = map(
        int,
        run(f"""
open({str(small_group / "cgroup.procs")!r}, "w").write("0")
print(read_available_memory(cpu))
open({str(tmp_path / "file")!r}, "rb", buffering=0).readinto(bytearray(200 * 2**20))
print(read_available_memory(cpu))
taken = torch.ones(100 * 2**20)
print(read_available_memory(cpu))
"""),
    )
    assert 900 * MIB < free <= 1024 * MIB
    assert free - after_reading < 50 * MIB
    assert 380 * MIB < after_reading - after_taking < 450 * MIB


def test_the_limit_of_the_address_space_is_known_and_running_into_it_is_recognised() -> None:
    said = run("""
free = 10**9
size = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (1024 * size + free, resource.RLIM_INFINITY))
print(0.9 * free < read_available_memory(cpu) <= free)

def take(allocate):
    try:
        allocate()
    except BaseException as error:
        return type(error).__name__, is_out_of_memory(error)

import mmap, numpy
ways = {
    "torch": lambda: torch.ones(10**9),
    "a product": lambda: torch.ones(40_000, 1) @ torch.ones(1, 40_000),
    "a gradient": lambda: (torch.ones(4 * 10**7, requires_grad=True) * torch.ones(20, 1)).sum().backward(),
    "python": lambda: bytearray(2 * 10**9),
    "numpy": lambda: numpy.ones(10**9),
    "linux": lambda: mmap.mmap(-1, 2 * 10**9),
    "a list": lambda: [0] * 10**9,
}
for name, allocate in ways.items():
    print(*take(allocate))
""")
    assert said[0] == "True"
    assert said[2::2] == ["True"] * 7, said
    assert {"RuntimeError", "MemoryError", "OSError"} <= {word.lstrip("_") for word in said[1::2]}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (8x32 and 31x3)"), False),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (FileNotFoundError(2, "No such file or directory"), False),
        (ValueError("DefaultCPUAllocator"), False),
        (KeyError("memory"), False),
    ],
    ids=lambda value: str(value)[:30],
)
def test_only_a_lack_of_memory_is_called_so(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
