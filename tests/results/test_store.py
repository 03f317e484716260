"""A run's folder: units appear whole or not at all, read back bit for bit, and damage is named."""

import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pytest
import zarr

from heatproof.errors import StoreError
from heatproof.results import partial
from heatproof.results.checksums import DamagedUnit
from heatproof.results.parquet import SCORE_COLUMNS, PredictedCase, columns_of, read_table, write_table
from heatproof.results.store import Run

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run")


def partials(run: Run) -> list[Path]:
    return [*run.folder.rglob(".partial-*")]


def dead_process() -> int:
    """The number of a process that has ended."""
    return int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout)


def test_a_unit_appears_only_when_it_is_whole(run: Run) -> None:
    with run.commit("heatmaps", "a", {"ids": ["x"]}) as folder:
        (folder / "data").write_text("half")
        assert not run.has("heatmaps", "a")
        assert run.keys("heatmaps") == set()
        assert not run.unit("heatmaps", "a").exists()
    assert run.has("heatmaps", "a")
    assert run.keys("heatmaps") == {"a"}
    meta = run.meta("heatmaps", "a")
    assert (meta["key"], meta["ids"], list(meta["digests"])) == ("a", ["x"], ["data"])
    assert (run.unit("heatmaps", "a") / "data").read_text() == "half"
    assert partials(run) == []


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_an_error_leaves_nothing(run: Run, error: BaseException) -> None:
    def fail() -> None:
        with run.commit("scores", "a", {}) as folder:
            (folder / "data").write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert [*(run.folder / "scores").iterdir()] == []


def test_meta_that_is_no_json_leaves_nothing(run: Run) -> None:
    with pytest.raises(ValueError, match="JSON"), run.commit("scores", "a", {"value": float("nan")}):
        pass
    assert [*(run.folder / "scores").iterdir()] == []


def test_of_two_commits_of_one_unit_the_first_stays(run: Run) -> None:
    with run.commit("scores", "a", {"who": "second"}) as folder:
        (folder / "second").touch()
        with Run(run.folder).commit("scores", "a", {"who": "first"}) as other:
            (other / "first").touch()
    assert run.meta("scores", "a")["who"] == "first"
    assert sorted(path.name for path in run.unit("scores", "a").iterdir()) == ["first", "unit.json"]
    assert partials(run) == []


def test_settled_values_are_those_of_the_first(run: Run) -> None:
    assert run.settled("rows-x", rows=4)["rows"] == 4
    assert Run(run.folder).settled("rows-x", rows=2)["rows"] == 4


def test_a_removed_unit_is_gone(run: Run) -> None:
    with run.commit("scores", "a", {}) as folder:
        (folder / "data").touch()
    run.remove("scores", "a")
    assert not run.has("scores", "a")
    assert [*(run.folder / "scores").iterdir()] == []


def test_sweep_takes_what_dead_processes_of_this_machine_left(run: Run) -> None:
    host = partial.socket.gethostname()
    dead = dead_process()
    abandoned = [
        run.folder / "heatmaps" / f".partial-{host}-{dead}-abc",
        run.folder / f".partial-{host}-{dead}-def",
        run.folder / "scores" / f".partial-{host}-{os.getpid()}-abc",
    ]
    live = [
        run.folder / "heatmaps" / f".partial-{host}-{os.getppid()}-abc",
        run.folder / "heatmaps" / f".partial-elsewhere-{dead}-abc",
        run.folder / "scores" / f".partial-{host}-1-abc",
        run.folder / "scores" / "unit",
        run.folder / ".partial-notes",
    ]
    for path in abandoned + live:
        path.mkdir()
        (path / "data").touch()
    text = run.folder / f".partial-{host}-{dead}-text"
    text.write_text("half")
    run.sweep()
    assert [path.exists() for path in [*abandoned, text]] == [False] * 4
    assert [path.exists() for path in live] == [True] * 5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says so in /proc")
def test_sweep_takes_what_a_process_left_that_nobody_waited_for(run: Run) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        left = run.folder / "scores" / f".partial-{partial.socket.gethostname()}-{child.pid}-abc"
        left.mkdir()
        while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        run.sweep()
        assert not left.exists()


def test_sweep_knows_the_names_that_commit_gives(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial.socket, "gethostname", lambda: "node-17-a.cluster")
    with run.commit("scores", "a", {}) as folder, run.replacing("summary.csv") as file:
        dead = dead_process()
        renamed = [Path(re.sub(rf"-{os.getpid()}-", f"-{dead}-", str(path))) for path in (folder, file.parent)]
        for path in renamed:
            path.mkdir()
        file.write_text("")
        Run(
            run.folder
        ).sweep()  # sweeps what carries this process's own number, too: nothing of it is under way at a start
        assert [path.exists() for path in renamed] == [False, False]
        folder.mkdir()
        file.parent.mkdir()
        file.touch()


def maps() -> np.ndarray:
    """Maps with every kind of float: signed zeros, not a number, infinity, subnormal."""
    drawn = np.random.default_rng(0).standard_normal((5, 6, 5)).astype(np.float32)
    drawn[0] = -0.0
    drawn[1] = np.nan
    drawn[4] = 0.0
    drawn[2, 0, :4] = [np.inf, -np.inf, 1e-45, -0.0]
    return drawn


def committed(run: Run, key: str = "a", values: np.ndarray | None = None) -> Path:
    with run.commit("heatmaps", key, {}) as folder:
        run.put_maps(folder, maps() if values is None else values)
    return run.unit("heatmaps", key)


def test_maps_come_back_bit_for_bit(run: Run) -> None:
    committed(run)
    assert run.maps("a").tobytes() == maps().tobytes()
    assert run.maps("a", 2).tobytes() == maps()[2].tobytes()
    assert run.maps("a").dtype == np.float32


def test_maps_are_zarr_v3_with_one_map_per_chunk(run: Run) -> None:
    unit = committed(run)
    stored = zarr.open_array(unit / "maps.zarr", mode="r")
    assert stored.metadata.zarr_format == 3
    assert stored.chunks == (1, 6, 5)
    assert sorted(path.name for path in (unit / "maps.zarr" / "c").iterdir()) == ["0", "1", "2", "3", "4"]
    assert np.asarray(stored[:]).tobytes() == maps().tobytes()
    volume = np.random.default_rng(1).random((2, 3, 4, 5), dtype=np.float32)
    committed(run, "volume", volume)
    assert zarr.open_array(run.unit("heatmaps", "volume") / "maps.zarr", mode="r").chunks == (1, 3, 4, 5)
    assert np.array_equal(run.maps("volume"), volume)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:7])


@pytest.mark.parametrize("damage", [cut, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("file", ["maps.zarr/c/3/0/0", "maps.zarr/zarr.json"])
def test_damaged_maps_are_named(run: Run, file: str, damage: object) -> None:
    unit = committed(run)
    damage(unit / file)
    with pytest.raises(DamagedUnit, match=rf"{re.escape(str(unit / file))} is damaged.*computes this unit again"):
        run.maps("a")


def test_a_damaged_unit_is_named_and_written_anew(run: Run) -> None:
    unit = committed(run)
    cut(unit / "unit.json")
    with pytest.raises(DamagedUnit, match=r"unit.json is damaged \(its checksum does not match\)"):
        run.meta("heatmaps", "a")
    (unit / "unit.json").unlink()
    committed(run)
    assert run.maps("a").tobytes() == maps().tobytes()
    assert "unit.json was damaged (it is missing)" in (run.folder / "log.txt").read_text()
    assert partials(run) == []


ROWS = [
    ["a", "p", "value", 0.1 + 0.2, "valid", "", None, '{"steps": 3}', "heatmaps/x/maps.zarr", 0],
    ["b", "p", "value", None, "failed", 'it\'s; "broken"', None, "{}", "heatmaps/x/maps.zarr", 1],
    ["c", "q", "curve", None, "valid", "", [0.0, 1.5], "{}", None, None],
    ["d", "q", "curve", None, "valid", "", [], "{}", None, None],
    ["e", "q", "curve", None, "valid", "", [np.nan, 2.0], "{}", None, None],
]


def test_tables_come_back(tmp_path: Path) -> None:
    path = tmp_path / "it's a table.parquet"
    write_table(path, SCORE_COLUMNS, ROWS)
    table = read_table(path)
    assert list(table) == list(SCORE_COLUMNS)
    assert table["value"][0] == 0.1 + 0.2
    assert np.isnan(table["value"][1:]).all()
    assert table["reason"][1] == ROWS[1][5]
    assert table["array"][0] is None
    assert table["array"][2].tolist() == [0.0, 1.5]
    assert str(table["array"][4].tolist()) == "[nan, 2.0]"
    assert table["heatmap"].tolist()[2:] == [None] * 3
    assert table["row"][:2].tolist() == [0, 1]
    kinds = duckdb.sql(f"describe select * from read_parquet(['{str(path).replace(chr(39), chr(39) * 2)}'])").fetchall()
    assert {name: kind for name, kind, *_ in kinds} == dict(SCORE_COLUMNS)


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    rows = [
        [f"case{index}", "p", [1], 0, [index / 3, -1.0], [0.5, 0.5], "valid", "", ["left"]] for index in range(1200)
    ]
    for name in ("one", "two"):
        write_table(tmp_path / name, columns_of(PredictedCase), rows)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert read_table(tmp_path / "one")["case"].tolist() == [row[0] for row in rows]
    write_table(tmp_path / "empty", columns_of(PredictedCase), [])
    assert {name: len(values) for name, values in read_table(tmp_path / "empty").items()} == dict.fromkeys(
        columns_of(PredictedCase), 0
    )


def test_a_folder_that_looks_like_a_pattern_or_a_partition_is_only_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "value=7" / "run[1]*"
    folder.mkdir(parents=True)
    write_table(folder / "scores.parquet", SCORE_COLUMNS, ROWS)
    assert read_table(folder / "scores.parquet")["value"][0] == 0.1 + 0.2


def test_a_damaged_table_is_named(run: Run) -> None:
    with run.commit("scores", "a", {}) as folder:
        write_table(folder / "scores.parquet", SCORE_COLUMNS, ROWS)
    path = run.unit("scores", "a") / "scores.parquet"
    cut(path)
    with pytest.raises(DamagedUnit, match=r"scores.parquet is damaged \(its checksum does not match\)"):
        run.table("scores", "a")
    run.write("scores.parquet", "no table")
    with pytest.raises(StoreError, match=r"scores.parquet cannot be read .*; run the same config again"):
        read_table(run.folder / "scores.parquet")


def test_files_are_replaced_in_one_step(run: Run) -> None:
    run.write_json("provenance.json", {"b": 1, "a": "é"})
    assert (run.folder / "provenance.json").read_text(encoding="utf-8") == '{\n "a": "é",\n "b": 1\n}\n'

    def fail() -> None:
        with run.replacing("provenance.json") as partial:
            partial.write_text("half")
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail()
    assert '"b": 1' in (run.folder / "provenance.json").read_text()
    assert partials(run) == []


def test_others_may_read_a_run_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        run = Run.create(tmp_path / "run")
        unit = committed(run)
        run.write("config.yaml", "")
    finally:
        os.umask(before)
    assert unit.stat().st_mode & 0o777 == 0o755
    assert (run.folder / "config.yaml").stat().st_mode & 0o777 == 0o644


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a run's folder"):
        Run.open(tmp_path)


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(StoreError, match=r"cannot write to .*run: .*choose another output folder"):
        Run.create(tmp_path / "run")


def test_a_read_only_folder_is_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(run)

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", refuse)
        with pytest.raises(StoreError, match="Read-only file system; make room, or choose another") as caught:
            Run.create(run.folder)
        with pytest.raises(StoreError, match="Read-only file system"):
            committed(run, "b")
    assert "\n" not in str(caught.value)
    assert run.keys("heatmaps") == {"a"}


def test_a_full_disk_is_one_sentence_and_leaves_earlier_units(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(run)
    written = Path.write_text

    def fill(path: Path, *arguments: object, **settings: object) -> int:
        if ".partial" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return written(path, *arguments, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", fill)
        with pytest.raises(StoreError, match=r"No space left on device; make room.*committed so far is kept") as caught:
            committed(run, "b")
        with pytest.raises(StoreError, match="No space left on device"):
            run.write("config.yaml", "seed: 0")
    assert "\n" not in str(caught.value)
    assert run.keys("heatmaps") == {"a"}
    assert run.maps("a").tobytes() == maps().tobytes()
    assert partials(run) == []
    committed(run, "b")


@pytest.fixture
def tiny(tmp_path: Path) -> object:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk needs the right to mount: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk needs root on Linux")
def test_a_disk_that_runs_full_keeps_what_it_has(tiny: Path) -> None:
    run = Run.create(tiny / "run")
    committed(run)
    noise = np.random.default_rng(2).random((4, 512, 512), dtype=np.float32)
    with pytest.raises(StoreError, match="make room") as caught:
        committed(run, "b", noise)
    assert "\n" not in str(caught.value)
    rows = [["case", "p", "value", None, "failed", part.tobytes().hex(), None, "{}", None, None] for part in noise[0]]
    with pytest.raises(StoreError, match="make room"), run.commit("scores", "b", {}) as folder:
        write_table(folder / "scores.parquet", SCORE_COLUMNS, rows)
    assert run.keys("heatmaps") == {"a"}
    assert run.keys("scores") == set()
    assert run.maps("a").tobytes() == maps().tobytes()
    assert partials(run) == []


@pytest.mark.slow
def test_the_readme_reads_a_run_without_heatproof(ran: object) -> None:
    """The one-liners of the README, on a small run."""
    finished = ran(explainers=["slope", "noted"])
    lines = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("python -c")]
    assert len(lines) == 2
    programs = [re.fullmatch(r'python -c "(.*)"', line)[1].replace('\\"', '"') for line in lines]
    for program, expected in zip(programs, ("noted", "(16, 16)")):
        code = program.replace("runs/main", str(finished.folder)).replace("'combined'", "'value'")
        process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert expected in process.stdout, process.stderr
