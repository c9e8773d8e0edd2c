"""`bench figures` and the sheets it writes."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import site_fixture
from command import call, refusal
from PIL import Image
from site_fixture import CLASSES, HOSTILE, SUITE, picture, png

from benchmark import schema
from leaderboard import contact_sheets
from leaderboard.contact_sheets import Cell, Line, Sheet, draw
from leaderboard.paper_figures import Choice, export, load
from leaderboard.picture_views import across, views


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    return site_fixture.write(tmp_path_factory.mktemp("tables") / "site", samples=2)


@pytest.fixture(scope="module")
def written(tables, tmp_path_factory) -> dict[str, Path]:
    """Files of two models and one attack, by their path below the output folder."""
    out = tmp_path_factory.mktemp("out")
    choice = Choice(models=["small_resnet", HOSTILE], attacks=["gradient"])
    return {str(path.relative_to(out)): path for path in export(tables, out, choice)}


def digests(files) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_files_have_sensible_names_for_every_picture(written):
    at = f"{SUITE}/gradient"
    per_class = len(CLASSES)
    # together: night and day (all, each class), class means; a model: samples, 2 spaces of nearest, exposed
    assert len(written) == (1 + per_class) + 1 + 2 * ((1 + per_class) + 2 * (1 + per_class) + 2)
    assert f"{at}/night-and-day.png" in written and f"{at}/night-and-day--03-dress.png" in written
    assert f"{at}/small_resnet/nearest--target--09-boot.png" in written
    assert f"{at}/night-and-day--00-img-src-x-onerror-alert-1.png" in written
    for name in written:
        assert name.isascii() and not set(name) & set("<>:\"\\|?* '()=")


def test_sheets_have_300_dpi_white_paper_and_readable_pictures(written):
    for path in written.values():
        with Image.open(path) as image:
            assert image.format == "PNG" and image.mode == "RGB"
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
            assert image.getpixel((0, 0)) == image.getpixel((image.width - 1, image.height - 1)) == (255, 255, 255)
            assert image.height >= 112


def test_the_same_call_gives_the_same_bytes(written, tables, tmp_path):
    choice = Choice(suites=[SUITE], models=["small_resnet", HOSTILE], attacks=["gradient"])
    together = [path for path in written.values() if path.parent.name == "gradient"]
    again = [path for path in export(tables, tmp_path, choice) if path.parent.name == "gradient"]
    assert digests(again) == digests(together) and len(again) == 12


def test_pixels_are_repeated_not_blurred():
    grey = picture(1, 1, 0.5)
    image = draw(Sheet([Line((), [Cell(png(grey)), Cell(png(1 - grey))])]), scale=3)
    expected = np.kron((255 * grey).astype(np.uint8), np.ones((3, 3), np.uint8))
    found = np.asarray(image.convert("L"))
    gap = 6  # 8 / 112 of the picture's side
    assert (found[gap : gap + 84, gap : gap + 84] == expected).all()
    assert image.size == (gap + 2 * (84 + gap), 84 + 2 * gap)
    large = draw(Sheet([Line((), [Cell(png(grey))])]), scale=8)
    assert large.size == (16 + 224 + 16, 16 + 224 + 16)


def test_text_never_covers_a_picture_and_hostile_text_stays_in_its_line():
    long = "x" * 500 + "\n\r\t\u202e<b>"
    cells = [Cell(png(picture(0, 0, 0)), (long, long), mark=True)] * 3
    image = draw(Sheet([Line((long, "r"), cells), Line(("",), [None, *cells[:1]])], [long] * 3, rule=2))
    assert image.width < 3 * 3 * 112 + 6 * 112
    assert draw(Sheet([])).width > 0


def test_neighbors_of_a_sheet_are_those_of_the_tables(tables):
    (suite,) = [found for found in load(tables) if found.name == SUITE]
    view = next(v for v in suite.views if (v.model, v.method, v.replica) == ("small_resnet", "gradient", 1))
    sheet = contact_sheets.nearest(view, "evaluator", 4)
    assert [cell.lines for cell in sheet.lines[1].cells[1:]] == [
        ("0.860", "Coat"), ("0.850", "Sandal"), ("0.840", "Coat"), ("0.830", "Coat"), ("0.820", "Coat"),
        ("0.820", "Coat"),
    ]  # fmt: skip
    assert [cell.wrong for cell in sheet.lines[1].cells[1:]] == [False, True, False, False, False, False]
    assert sheet.rule == 6 and len(sheet.heads) == 7
    hits = contact_sheets.exposed(view, "target")
    assert [cell.lines for cell in hits.lines[0].cells] == [
        ("9 hits", HOSTILE), ("8 hits", "Pullover"), ("7 hits", "Dress"),
    ]  # fmt: skip
    assert hits.lines[0].label == ("members", "0.02 expected") and hits.lines[1].label[0] == "non-members"
    rows = across(suite.views, suite.models, "gradient", 1)
    means = contact_sheets.means(rows)
    assert means.lines[3].label == ("small_resnet", "mean r 0.450") and means.lines[1].cells == [None] * 10
    assert [cell.lines for cell in means.lines[3].cells][:3] == [("0.000",), ("0.100",), ("0.200",)]


def test_a_model_without_the_replica_gives_its_first(tables):
    (suite,) = [found for found in load(tables) if found.name == SUITE]
    found = dict(across(suite.views, suite.models, "multiscale", 7))
    assert found["small_resnet"] is None and found[HOSTILE].replica == 0
    assert views({name: [] for name in schema.SHOWN}, None) == []


def figures(tables: Path, out: Path, *more: str):
    return call("figures", "--site", tables, "--out", out, *more)


@pytest.mark.slow
def test_the_command_prints_its_files(tables, tmp_path):
    done = figures(tables, tmp_path / "new" / "folder", "--model", "small_resnet", "--scale", "1")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert all(Path(line).is_file() for line in lines[:-1])
    assert lines[-1] == f"{len(lines) - 1} figures in {tmp_path / 'new' / 'folder'}"
    one = figures(
        tables, tmp_path / "one", "--model", HOSTILE, "--attack", "gradient", "--replica", "1", "--scale", "1"
    )
    assert f"{SUITE}/gradient/class-means--replica-1.png" in one.stdout


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--suite", "quikc", "--suite: unknown suite 'quikc'; did you mean 'quick'?"),
        ("--model", "small_resnt", "--model: unknown model 'small_resnt'; did you mean 'small_resnet'?"),
        ("--attack", "gradiant", "--attack: unknown attack 'gradiant'; did you mean 'gradient'?"),
        ("--replica", "9", "--replica: 9 is not there; allowed: 0, 1"),
        ("--scale", "0", "Invalid value for '--scale'"),
        ("--format", "svg", "Invalid value for '--format'"),
        ("--suite", "cifar & co", "no pictures were kept"),
    ],
)
def test_mistakes_end_in_one_line(tables, tmp_path, option, value, said):
    assert said in refusal(figures(tables, tmp_path / "out", option, value))
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be_used(tables, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    said = refusal(figures(tables, file))
    assert f"out: '{file}' cannot be written (" in said and "allowed: a folder" in said
    assert "leaderboard.parquet: no such file" in refusal(figures(tmp_path / "none", tmp_path / "out"))
    bare = site_fixture.write(tmp_path / "bare", samples=1)
    for name, columns in schema.SHOWN.items():
        pq.write_table(columns.empty_table(), bare / f"{name}.parquet")
    assert "no pictures were kept" in refusal(figures(bare, tmp_path / "out"))
    broken = pq.read_table(tables / "gallery.parquet").to_pylist()
    head = io.BytesIO(broken[0]["image_png"]).read(20)
    with pytest.raises(ValueError, match="a picture of 20 bytes cannot be read"):
        draw(Sheet([Line((), [Cell(head)])]))
