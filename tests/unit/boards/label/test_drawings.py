"""What is drawn is read by another reader (zxing), and the same labels give the same bytes."""

import subprocess
import sys
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image

from boards.label import Label, LabelError, read_back, write_png, write_sheet, zpl

PROVEN: dict[str, object] = {
    "event": "proven",
    "board": "madeup405",
    "role": "air",
    "unit": 7,
    "uid": "0123456789abcdef01234567",
    "image": "5e" * 32,
    "key_id": 3,
    "sample": "1/4",
    "sample_after_power_cycle": "2/1",
}
LABEL = Label("madeup405", "air", 7, "0123456789abcdef01234567", "5e" * 32, 3)


def uid(number: int) -> str:
    return f"{number:024x}"


def codes(path: Path) -> list[str]:
    with Image.open(path) as picture:
        found = zxingcpp.read_barcodes(picture.convert("L"))
    assert all(each.format == zxingcpp.BarcodeFormat.QRCode for each in found)
    return [each.text for each in found]


def pages(path: Path) -> list[Path]:
    command = ["pdftoppm", "-r", "100", "-mono", "-png", str(path), str(path.with_suffix(""))]
    subprocess.run(command, check=True, timeout=50)
    return sorted(path.parent.glob(f"{path.stem}-*.png"))


def test_a_label_is_made_of_the_proof(tmp_path: Path) -> None:
    label = Label.of_line(PROVEN)
    assert label == LABEL
    write_png(label, tmp_path / "label.png")
    assert codes(tmp_path / "label.png") == [label.text]
    assert read_back(label.text).uid == PROVEN["uid"]


@pytest.mark.parametrize(
    "change",
    [
        {"event": "begun"},
        {"event": "failed"},
        {"sample_after_power_cycle": None},
        {"sample_after_power_cycle": "1/9"},  # it did not start anew
        {"sample": None},
        {"uid": "0123"},
        {"board": "a^FS"},
        {"role": "fire"},
        {"unit": 0},
        {"unit": True},
        {"image": ""},
        {"key_id": 65536},
    ],
)
def test_there_is_no_label_without_both_proofs(change: dict[str, object]) -> None:
    with pytest.raises(LabelError, match="flash"):
        Label.of_line({**PROVEN, **change})


@pytest.mark.tool("pdftoppm")
def test_a_sheet_has_24_labels_a_page_and_each_is_read(tmp_path: Path) -> None:
    labels = [Label("madeup405", "water", 1 + n, uid(n), "5e" * 32, 1) for n in range(26)]
    write_sheet(labels, tmp_path / "sheet.pdf", used=1)
    first, second = pages(tmp_path / "sheet.pdf")
    assert sorted(codes(first)) == sorted(each.text for each in labels[:23])
    assert sorted(codes(second)) == sorted(each.text for each in labels[23:])
    with Image.open(first) as picture:
        assert picture.size == (827, 1170)  # A4 at 100 dpi
        # The first place was used before: it stays white, 70 x 37 mm of it.
        corner = picture.convert("L").crop((0, 0, 275, 145))
        assert corner.getextrema() == (255, 255)


def test_a_sheet_is_the_same_at_any_time(tmp_path: Path) -> None:
    write_sheet([LABEL], tmp_path / "one.pdf")
    program = (
        "import time; time.time = lambda: 2e9; import sys; from pathlib import Path; "
        "from boards.label import Label, write_sheet; "
        f"write_sheet([{LABEL!r}], Path(sys.argv[1]))"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "two.pdf")],
        check=True,
        env={"TZ": "Asia/Shanghai", "PYTHONPATH": ":".join(sys.path)},
    )
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()


@pytest.mark.parametrize(("labels", "used"), [([], 0), ([LABEL], 24), ([LABEL], -1)])
def test_a_sheet_without_room_is_refused(tmp_path: Path, labels: list[Label], used: int) -> None:
    with pytest.raises(LabelError, match="expected at least one label"):
        write_sheet(labels, tmp_path / "sheet.pdf", used)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_png, lambda label, path: write_sheet([label], path)])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, write: object) -> None:
    assert callable(write)
    with pytest.raises(LabelError, match="nowhere"):
        write(LABEL, tmp_path / "nowhere" / "label")


def test_a_label_printer_draws_the_same_text() -> None:
    text = zpl(LABEL)
    fields = [line for line in text.splitlines() if "^BQ" in line]
    assert len(fields) == 1
    # ^FD of a ^BQ: error correction, input mode, comma, data.
    assert fields[0].split("^FD")[1] == f"QA,{LABEL.text}^FS"
    assert text.startswith("^XA\n")
    assert text.endswith("^XZ\n")
    assert all(line.startswith("^FO") for line in text.splitlines()[2:-1])
    assert "~" not in text


def test_without_the_extra_the_command_to_type_is_named() -> None:
    """And the gateway's command line needs none of it."""
    program = (
        "import sys\n"
        "for name in ('segno', 'PIL', 'reportlab'): sys.modules[name] = None\n"
        "import gateway_agent.cli, boards.cli, boards.label\n"
        "from pathlib import Path\n"
        f"label = boards.label.{LABEL!r}\n"
        "boards.label.zpl(label)\n"
        "sheet = lambda one, path: boards.label.write_sheet([one], path)\n"
        "for write in (boards.label.write_png, sheet):\n"
        "    try: write(label, Path('/nowhere'))\n"
        "    except boards.label.LabelError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pip install 'tianfu-edge[station]'") == 2
