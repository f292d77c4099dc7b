"""How tables are shown: text, CSV, Markdown and several networks side by side."""

import csv
import io

import pytest

from saccade.design.desk import TableRequest, draw_comparison, draw_table
from saccade.design.text import COLUMNS, size, table_csv, table_markdown, table_text, visible_columns

LINE = "conv 8 f5 | pool | res( conv 8 f3 same bn ) | fc 10"
SMALL = TableRequest(input_CHW=(3, 12, 12))


def test_text_shows_every_layer_in_whole_numbers():
    text = table_text(draw_table(LINE, SMALL))
    assert text.splitlines()[:4] == [
        "layer                      kind          window   output  activations  parameters  multiply-adds  field  jump",
        "input                                            12x12x3          432           0              0      1     1",
        "stem.conv1                 conv + relu   f5        8x8x8          512         608         38,400      5     1",
        "stem.pool1                 max pool      f2 s2     4x4x8          128           0              0      6     2",
    ]


def test_narrow_terminals_drop_columns_and_never_cut_a_number():
    table = draw_table("vgg16", TableRequest())
    for width in (60, 80, 100, 120):
        whole = table_text(table, width)
        lines = whole.split("\n\nvgg16 for ")[0].splitlines()
        assert all(len(line) <= width for line in lines)
        told = "Wider terminals, --csv and --json also have: "
        dropped = [name for name in COLUMNS if name not in visible_columns(width) or (width == 80 and name == "kind")]
        assert (f"{told}{', '.join(dropped)}." in whole.splitlines()) == (told in whole) == bool(dropped)
        if width == 60:  # each layer is a paragraph
            assert "  parameters     102,764,544" in lines
            continue
        assert {"layer", "output", "parameters", "multiply-adds", "field"} <= set(lines[0].split())
        assert any("102,764,544" in line for line in lines)
    assert visible_columns(0) == COLUMNS
    assert visible_columns(60) == ("layer", "output", "parameters", "multiply-adds", "field")


def test_csv_holds_the_same_figures():
    table = draw_table(LINE, SMALL)
    rows = list(csv.DictReader(io.StringIO(table_csv(table))))
    assert [int(row["parameters"]) for row in rows] == [layer.parameters for layer in table.layers]
    assert [row["layer"] for row in rows] == [layer.name for layer in table.layers]
    assert rows[0]["kernel"] == "5"
    assert rows[-1]["kernel"] == ""


def test_markdown_is_a_table_of_equal_rows():
    lines = table_markdown(draw_table(LINE, SMALL)).split("\n\n")[0].splitlines()
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 1}


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (46_796_608, "46.8 MB"), (138e6, "138 MB"), (2.5e9, "2.5 GB")],
)
def test_sizes_are_read_easily(num_bytes: float, text: str):
    assert size(num_bytes) == text


def test_comparison_gives_ratios_to_the_first():
    comparison = draw_comparison(["plain18", "resnet18"], TableRequest())
    plain, residual = comparison.as_json()["models"]
    assert (plain["parameters_ratio"], plain["multiply_adds_ratio"]) == (1.0, 1.0)
    assert residual["parameters"] == 11_689_512
    assert residual["parameters_ratio"] == round(11_689_512 / plain["parameters"], 4)
