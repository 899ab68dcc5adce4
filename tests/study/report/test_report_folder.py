"""The folder of a report: replaced whole or not at all, and only if it holds nothing else."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from study_reports import files_of

from study.errors import OutputError
from study.report.folder import check_output, read_manifest, replace_folder, write_manifest


def fill(folder: Path, text: str = "new") -> None:
    (folder / "tables").mkdir()
    (folder / "tables" / "a.csv").write_text(text)
    write_manifest(folder, {"study": "s"})


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A report of earlier."""
    replace_folder(tmp_path / "report", lambda folder: fill(folder, "old"))
    return tmp_path / "report"


def test_a_report_replaces_an_earlier_report_whole(report: Path) -> None:
    replace_folder(report, fill)
    assert {*files_of(report)} == {"manifest.json", "tables/a.csv"}
    assert (report / "tables" / "a.csv").read_text() == "new"
    assert [path.name for path in report.parent.iterdir()] == ["report"]


def test_what_an_earlier_report_had_and_the_new_one_has_not_is_gone(report: Path) -> None:
    replace_folder(report, lambda folder: write_manifest(folder, {}))
    assert {*files_of(report)} == {"manifest.json"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_report_that_cannot_be_finished_leaves_the_earlier_one(report: Path, error: type[BaseException]) -> None:
    before = files_of(report)

    def fail(folder: Path) -> None:
        fill(folder)
        raise error

    with pytest.raises(OutputError if error is OSError else error):
        replace_folder(report, fail)
    assert files_of(report) == before
    assert [path.name for path in report.parent.iterdir()] == ["report"]


def test_of_many_writers_at_once_each_succeeds_and_one_whole_report_is_there(report: Path) -> None:
    texts = [f"of writer {writer}" for writer in range(8)]
    with ThreadPoolExecutor(len(texts)) as pool:
        for _ in range(10):
            list(pool.map(lambda text: replace_folder(report, lambda folder: fill(folder, text)), texts))
            assert (report / "tables" / "a.csv").read_text() in texts
    assert [path.name for path in report.parent.iterdir()] == ["report"]


def test_a_full_disk_is_told(report: Path) -> None:
    def fail(folder: Path) -> None:
        raise OSError(28, "No space left on device", str(folder))

    with pytest.raises(OutputError, match=r"cannot be written to .*/report \(No space left on device\); name another"):
        replace_folder(report, fail)


def test_an_edited_report_is_still_a_report(report: Path) -> None:
    (report / "tables" / "a.csv").write_text("edited")
    replace_folder(report, fill)
    assert (report / "tables" / "a.csv").read_text() == "new"


def test_a_folder_with_a_file_that_is_not_the_reports_is_left_alone(report: Path) -> None:
    (report / "tables" / "notes.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"not part of a report of this program, such as tables/notes\.txt"):
        replace_folder(report, fill)
    assert (report / "tables" / "notes.txt").read_text() == "precious"
    assert (report / "tables" / "a.csv").read_text() == "old"


@pytest.mark.parametrize(
    "manifest",
    ['{"name": "a web application", "files": {"thesis.tex": ""}}', "[]", "{", '{"kind": "adai-study report"}'],
)
def test_a_manifest_of_something_else_is_no_permission(tmp_path: Path, manifest: str) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("precious")
    (mine / "manifest.json").write_text(manifest)
    with pytest.raises(OutputError, match="holds what is not part of a report"):
        replace_folder(mine, fill)
    assert sorted(files_of(mine)) == ["manifest.json", "thesis.tex"]
    with pytest.raises(OutputError, match="is not a report of this program"):
        read_manifest(mine)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    replace_folder(tmp_path / "report", fill)
    assert read_manifest(tmp_path / "report")["files"].keys() == {"tables/a.csv"}


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "report", Path("/proc/report"), Path("/dev/null/report")):
        with pytest.raises(OutputError, match=r"--out"):
            check_output(path)
    check_output(tmp_path / "new" / "report")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_current_folder_and_what_holds_it_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path in (Path(), Path(".."), tmp_path / "here"):
        with pytest.raises(OutputError, match="is or holds the current directory"):
            check_output(path)


def test_the_new_folder_has_the_permissions_that_new_folders_have_not_those_of_its_parent(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    (tmp_path / "ordinary").mkdir()
    replace_folder(tmp_path / "shared" / "report", fill)
    assert (tmp_path / "shared" / "report").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_an_interruption_while_folders_are_exchanged_brings_the_earlier_report_back(
    report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(report)
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(report, fill)
    assert files_of(report) == before
    assert [path.name for path in report.parent.iterdir()] == ["report"]


def test_a_report_goes_where_a_link_leads_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk", target_is_directory=True)
    replace_folder(tmp_path / "link", fill)
    assert (tmp_path / "link").is_symlink()
    assert any((tmp_path / "disk").iterdir())


def test_the_manifest_has_the_hash_of_every_other_file(report: Path) -> None:
    manifest = json.loads((report / "manifest.json").read_text())
    # echo -n old | sha256sum
    digest = "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4"
    assert manifest == {"kind": "adai-study report", "study": "s", "files": {"tables/a.csv": digest}}
