"""The same table as text, Markdown, CSV, LaTeX, HTML and JSON."""

import csv
import io
import json
import re

import pytest
from hacore_report import read_runs, tabulate, write_table

from hacore.errors import HacoreError


@pytest.fixture
def table(write_run):
    paths = [
        write_run(f"selector.k={k}", f"aggregator.use={use}", seed=seed, accuracy=0.5 + k / 100 + seed / 10)
        for k in (4, 10)
        for use in ("rn", "sum-pool")
        for seed in (0, 1)
        if (k, use) != (10, "sum-pool")
    ]
    return tabulate(read_runs(paths), rows=["selector.k"], columns=["aggregator.use"])


def test_text(table):
    assert write_table(table, "text") == (
        "accuracy (%) on test; mean ± sample standard deviation of 2 runs; columns: aggregator.use\n"
        "selector.k               rn    sum-pool\n"
        "4                59.0 ± 7.1  59.0 ± 7.1\n"
        "10               65.0 ± 7.1           -\n"
        "majority answer  37.5 ± 0.0  37.5 ± 0.0\n"
    )


def test_markdown(table):
    assert write_table(table, "markdown").splitlines() == [
        "Accuracy (%) on test; mean ± sample standard deviation of 2 runs; columns: aggregator.use.",
        "",
        "| selector.k | rn | sum-pool |",
        "| --- | ---: | ---: |",
        "| 4 | 59.0 ± 7.1 | 59.0 ± 7.1 |",
        "| 10 | 65.0 ± 7.1 | - |",
        "| majority answer | 37.5 ± 0.0 | 37.5 ± 0.0 |",
    ]


def test_a_page(table, cli, write_run):
    page = write_table(table, "html")
    rows = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in re.findall(r"<tr.*?</tr>", page, re.S)
    ]
    assert rows == [
        ["selector.k", "rn", "sum-pool"],
        ["4", "59.0 ± 7.1", "59.0 ± 7.1"],
        ["10", "65.0 ± 7.1", "-"],
        ["majority answer", "37.5 ± 0.0", "37.5 ± 0.0"],
    ]
    assert "<h1>Accuracy (%) on test</h1>" in page
    assert "<p>Mean ± sample standard deviation of 2 runs.</p>" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r'(src|href)="(?!#)', page)  # it fetches nothing
    out = cli("table", write_run("data.root=<b>"), "--rows", "data.root", "--format", "html").out
    assert "&lt;b&gt;" in out
    assert '<th scope="row"><b>' not in out


def test_latex(table):
    assert write_table(table, "latex", digits=2).splitlines()[1:] == [
        r"\begin{tabular}{lrr}",
        r"  \toprule",
        r"  selector.k & rn & sum-pool \\",
        r"  \midrule",
        r"  4 & 59.00 $\pm$ 7.07 & 59.00 $\pm$ 7.07 \\",
        r"  10 & 65.00 $\pm$ 7.07 & - \\",
        r"  \midrule",
        r"  majority answer & 37.50 $\pm$ 0.00 & 37.50 $\pm$ 0.00 \\",
        r"  \bottomrule",
        r"\end{tabular}",
    ]


def test_latex_escapes_what_it_would_read_as_commands(write_run):
    table = tabulate(
        read_runs([write_run()]), rows=["data.use"], values=["multiply_adds", "checkpoint.val_accuracy"]
    )
    text = write_table(table, "latex")
    assert r"data.use & multiply\_adds & checkpoint.val\_accuracy (\%) \\" in text
    assert not re.search(r"(?<!\\)[_%&#]", text.split("\n", 1)[1].replace(" & ", ""))


def test_a_value_of_several_lines_is_one_cell(write_run):
    table = tabulate(
        read_runs([write_run('data.root="two\\nlines | x"')]), rows=["data.root"], values=["kept"]
    )
    for form in ("markdown", "latex", "text"):
        text = write_table(table, form)
        assert len(re.findall(r"two.*lines.*x.*\d", text)) == 1


def test_csv_has_the_numbers_unrounded(table):
    rows = list(csv.DictReader(io.StringIO(write_table(table, "csv"))))
    assert [row["selector.k"] for row in rows] == ["4", "10"]
    assert float(rows[0]["rn accuracy mean"]) == pytest.approx(0.59)
    assert float(rows[0]["rn accuracy deviation"]) == pytest.approx(0.1 / 2**0.5)
    assert rows[0]["rn accuracy runs"] == "2"
    assert (rows[1]["sum-pool accuracy mean"], rows[1]["sum-pool accuracy runs"]) == ("", "0")


def test_json_names_seeds_and_runs(table):
    content = json.loads(write_table(table, "json"))
    assert (content["rows"], content["columns"], content["values"]) == (
        ["selector.k"],
        ["aggregator.use"],
        ["accuracy"],
    )
    assert len(content["cells"]) == 3
    first = content["cells"][0]
    assert (first["row"], first["column"]) == ({"selector.k": 4}, {"aggregator.use": "rn"})
    assert first["seeds"] == [0, 1]
    assert len(first["runs"]) == 2
    assert first["mean"] == pytest.approx(0.59)
    assert content["baselines"][0]["baseline"] == "majority"


def test_numbers_of_runs_are_shown_where_they_differ(write_run):
    paths = [write_run(), write_run(seed=1), write_run("selector.k=4")]
    text = write_table(tabulate(read_runs(paths), rows=["selector.k"]), "text")
    assert text.splitlines()[0].endswith("mean ± sample standard deviation (number of runs)")
    assert re.search(r"^4 +50\.0 \(1\)$", text, re.MULTILINE)
    assert re.search(r"^10 +50\.0 ± 0\.0 \(2\)$", text, re.MULTILINE)
    assert write_table(tabulate(read_runs(paths[:1])), "text").splitlines()[0] == (
        "accuracy (%) on test; one run each"
    )


def test_several_values_have_columns_of_their_own_and_fitting_digits(write_run):
    runs = read_runs([write_run(training__seconds=98.26, multiply_adds=12345678, kept=0.1234)])
    names = ["kept", "seconds", "multiply_adds", "checkpoint.step", "train.lr"]
    text = write_table(tabulate(runs, rows=["selector.k"], values=names), "markdown").splitlines()
    assert text[2] == "| selector.k | kept (%) | seconds (s) | multiply_adds | checkpoint.step | train.lr |"
    assert text[4] == "| 10 | 12.3 | 98.3 | 12,345,678 | 7 | 0.00100 |"


def test_an_unknown_format_is_refused(table):
    with pytest.raises(HacoreError, match=r"'rst'.*text, markdown, csv, latex, html, json"):
        write_table(table, "rst")


def test_a_narrow_terminal_has_the_columns_one_below_the_other(table):
    lines = write_table(table, "text", width=30).splitlines()
    assert max(map(len, lines)) <= 30
    start = lines.index("selector.k               rn")
    assert " ".join(lines[:start]) == write_table(table, "text").splitlines()[0]
    assert lines[start:] == [
        "selector.k               rn",
        "4                59.0 ± 7.1",
        "10               65.0 ± 7.1",
        "majority answer  37.5 ± 0.0",
        "",
        "selector.k         sum-pool",
        "4                59.0 ± 7.1",
        "10                        -",
        "majority answer  37.5 ± 0.0",
    ]
    assert write_table(table, "text", width=200) == write_table(table, "text")
    # However narrow: a column beside its keys.
    narrow = write_table(table, "text", width=5).splitlines()
    assert narrow[-9:] == lines[start:]
