"""Which rows a table has by default: the names where each experiment has its own."""

from hacore_report import read_runs, tabulate


def test_experiments_with_names_of_their_own_are_rows_by_name(write_run):
    paths = [
        write_run(f"name={name}", f"selector.k={k}", seed=seed)
        for name, k in (("few", 4), ("many", 20))
        for seed in (0, 1)
    ]
    table = tabulate(read_runs(paths))
    assert table.row_keys == ("name",)
    assert table.rows == (("few",), ("many",))
    assert tabulate(read_runs(paths), columns=["selector.k"]).row_keys == ("name",)


def test_names_that_differ_by_seed_are_no_rows(write_run):
    paths = [
        write_run(f"name=table-k{k}-seed{seed}", f"selector.k={k}", seed=seed)
        for k in (4, 20)
        for seed in (0, 1)
    ]
    assert tabulate(read_runs(paths)).row_keys == ("selector.k",)
