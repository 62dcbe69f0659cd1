"""Series for other programs: nothing is lost, moved or made up, and a long run needs little memory."""

import builtins
import csv
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from typer.testing import CliRunner

from gridloop.scenarios.aligned import chosen, stretches
from gridloop.scenarios.cli import app
from gridloop.scenarios.export import export
from memory_runs import NAN, T_S, FromMemory, ring, saved

h5py = pytest.importorskip("h5py")
matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture
def result(tmp_path, monkeypatch):
    """A run of 1200 rows in segments of 500, with a meter every 17 ms, off the grid's times."""
    monkeypatch.chdir(tmp_path)
    made = ring()
    meter_s = np.arange(353) * 0.017
    series = made.record["series"] | {("m1", "P_gen_meas[MW]"): (meter_s, np.sqrt(meter_s))}
    series["inv3", "f[Hz]"] = series["inv3", "f[Hz]"].copy()
    series["inv3", "f[Hz]"][100:] = NAN
    kinds = made.record["kinds"] | {"m1": "meter"}
    return saved(FromMemory(Path(), made.record | {"series": series, "kinds": kinds}), Path("a"), rows=500)


def rows_of(path):
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


# --- which series ---


@pytest.mark.parametrize(("patterns", "names"), [
    (["inv1.*"], ["inv1.f[Hz]", "inv1.P_gen[MW]", "inv1.Q_gen[MVar]"]),
    (["*.f[Hz]"], ["inv1.f[Hz]", "inv2.f[Hz]", "inv3.f[Hz]"]),
    (["5.Vm[pu]", "inv2.f[Hz]", "m1"], ["inv2.f[Hz]", "5.Vm[pu]", "m1.P_gen_meas[MW]"]),
    (["inv1.f*", "inv1.*z]"], ["inv1.f[Hz]"]),
])  # fmt: skip
def test_patterns_choose_series_in_the_order_of_the_recording(result, patterns, names):
    assert sorted(f"{e}.{a}" for e, a in chosen(result, patterns)) == sorted(names)


def test_no_pattern_is_everything(result):
    assert len(chosen(result)) == sum(len(entity.attributes) for entity in result.entities.values())


@pytest.mark.parametrize("pattern", ["inv9", "inv1.f[Hx]", "inv1.f[MW", "f[Hz]", "inv?.f[Hz]"])
def test_a_pattern_that_fits_nothing_is_refused(result, pattern):
    with pytest.raises(ValueError, match="no series fits"):
        chosen(result, ["inv1", pattern])


# --- one axis ---


@pytest.mark.parametrize("rows", [1, 7, 499, 500, 10_000])
def test_every_row_of_every_stream_is_there_however_it_is_cut(result, rows):
    names = chosen(result, ["inv1.f[Hz]", "m1"])
    parts = list(stretches(result, names, rows=rows))
    t_s = np.concatenate([part.t_s for part in parts])
    values = np.concatenate([part.values for part in parts])
    np.testing.assert_array_equal(t_s, np.unique(np.round(np.concatenate([T_S, np.arange(353) * 0.017]), 6)))
    for column, (entity, attribute) in enumerate(names):
        own_s, own = result.series(entity, attribute)
        there = ~np.isnan(values[:, column])
        np.testing.assert_allclose(t_s[there], own_s, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(values[there, column], own)


def test_memory_is_bounded_by_the_rows_read_at_a_time(result):
    assert max(len(part.t_s) for part in stretches(result, chosen(result), rows=50)) <= 200


@pytest.mark.parametrize("rows", [3, 10_000])
def test_every_keeps_the_first_row_of_each_interval(result, rows):
    parts = stretches(result, chosen(result, ["inv1"]), every_s=0.5, rows=rows)
    assert np.concatenate([part.t_s for part in parts]).tolist() == pytest.approx(np.arange(12) * 0.5)
    # rows lie 5 ms apart: of every 12 ms the first row at or after 0, 12, 24, 36, ... ms
    parts = stretches(result, chosen(result, ["inv1"]), every_s=0.012, rows=rows)
    t_s = np.concatenate([part.t_s for part in parts])
    assert t_s[:5].tolist() == pytest.approx([0, 0.015, 0.025, 0.040, 0.050])


@pytest.mark.parametrize("every_s", [0, -1, NAN])
def test_a_distance_that_is_none_is_refused(result, every_s):
    with pytest.raises(ValueError, match="must be > 0 s"):
        list(stretches(result, chosen(result), every_s=every_s))


def test_a_result_that_was_read_goes_to_another_process(result):
    result.series("inv1", "f[Hz]")
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.series("inv1", "f[Hz]"), result.series("inv1", "f[Hz]"))


# --- CSV and Parquet ---


def test_csv_holds_every_value_to_its_last_digit_and_blanks_for_none(result):
    export(result, Path("a.csv"), ["inv1.P_gen[MW]", "inv3.f[Hz]", "m1"])
    head, *rows = rows_of("a.csv")
    assert head == ["t[s]", "inv1.P_gen[MW]", "inv3.f[Hz]", "m1.P_gen_meas[MW]"]
    table = {float(row[0]): dict(zip(head, row, strict=True)) for row in rows}
    assert float(table[0.005]["inv1.P_gen[MW]"]) == result.series("inv1", "P_gen[MW]")[1][1]
    assert table[0.005]["m1.P_gen_meas[MW]"] == ""  # the meter has no row then
    assert float(table[0.017]["m1.P_gen_meas[MW]"]) == np.sqrt(0.017)
    assert table[0.017]["inv1.P_gen[MW]"] == ""  # nor has the grid here
    assert table[0.6]["inv3.f[Hz]"] == ""  # recorded as nan
    assert len(rows) == 1200 + 353 - 71  # both have the multiples of 85 ms


def test_names_with_commas_are_quoted():
    made = ring()
    series = {("bus, old", "Vm[pu]"): made.record["series"]["1", "Vm[pu]"]}
    record = made.record | {"series": series, "kinds": {"bus, old": "bus"}}
    folder = Path("quoted")
    result = saved(FromMemory(Path(), record), folder)
    assert rows_of(export(result, folder / "x.csv"))[0] == ["t[s]", "bus, old.Vm[pu]"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_parquet_holds_the_same_as_csv(result):
    left = pandas.read_csv(export(result, Path("a.csv")), float_precision="round_trip")
    right = pandas.read_parquet(export(result, Path("a.parquet")))
    pandas.testing.assert_frame_equal(left, right, check_exact=True)


def test_a_file_is_written_whole_or_not_at_all(result, monkeypatch):
    Path("a.csv").write_text("before")
    monkeypatch.setattr(type(result), "batches", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        export(result, Path("a.csv"))
    assert Path("a.csv").read_text() == "before"
    assert not list(Path().glob(".*"))


# --- HDF5 ---


def test_hdf5_has_the_layout_of_mosaik_hdf5(result):
    with h5py.File(export(result, Path("a.h5"))) as file:
        assert sorted(file) == ["Relations", "Series"]
        group = file["Series/Grid-0.inv1"]
        t_s, f = result.series("inv1", "f[Hz]")
        np.testing.assert_array_equal(group["f[Hz]"], f)
        np.testing.assert_array_equal(group["_time"], np.round(t_s, 6))  # whole microseconds
        assert group["f[Hz]"].attrs["unit"] == "Hz"
        assert len(file["Series/Meter-0.m1/P_gen_meas[MW]"]) == len(file["Series/Meter-0.m1/_time"]) == 353
        assert sorted(file["Relations"]) == sorted(file["Series"])
        pairs = file["Relations/Grid-0.1"][:].tolist()
        assert [b"/Relations/Grid-0.inv1", b"/Series/Grid-0.inv1"] in pairs
        assert all(path.decode() in file for pair in pairs for path in pair)
        assert file.attrs["status"] == "done"


def test_hdf5_of_parallel_lines_and_of_a_long_scenario():
    made = ring()
    record = made.record | {
        "series": {(name, "P_from[MW]"): T_S for name in ("6-7", "6-7/2")},
        "kinds": {"6-7": "branch", "6-7/2": "branch"},
        "scenario": made.record["scenario"] | {"title": "x" * 100_000},
    }
    with h5py.File(export(saved(FromMemory(Path(), record), Path("long")), Path("a.h5"), every_s=1)) as file:
        assert sorted(file["Series"]) == ["Grid-0.6-7", "Grid-0.6-7:2"]
        assert file["Series/Grid-0.6-7:2/_time"][:].tolist() == [0, 1, 2, 3, 4, 5]
        assert len(file.attrs["scenario"]) > 100_000


def without(monkeypatch, module):
    """Let imports of a module fail."""
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name.partition(".")[0] == module:
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_hdf5_without_h5py_names_the_extra(result, monkeypatch):
    without(monkeypatch, "h5py")
    with pytest.raises(ValueError, match=r"pip install 'gridloop\[hdf5\]'"):
        export(result, Path("a.h5"))
    assert not Path("a.h5").exists()


# --- pandas and matplotlib ---


def test_data_frame_has_times_entities_and_attributes(result):
    frame = result.to_pandas(["inv1", "m1"])
    assert frame.index.name == "t[s]"
    assert frame.columns.names == ["entity", "attribute"]
    assert frame["m1", "P_gen_meas[MW]"].count() == 353
    assert frame.loc[0.005, ("inv1", "f[Hz]")] == result.series("inv1", "f[Hz]")[1][1]
    assert result.to_pandas("*.f[Hz]").columns.get_level_values("entity").tolist() == ["inv1", "inv2", "inv3"]
    assert result.to_pandas().shape == (1482, len(chosen(result)))


def test_plot_shows_frequency_power_and_voltage(result):
    figure = result.plot()
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Frequency", "Active power", "Voltage at the buses"]
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["inv1", "inv2", "inv3"]
    assert figure.axes[1].get_ylabel() == "[kW]"
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize("signals", [("inv1", "f[Hz]"), ("inv1.f[Hz]",)])
def test_plot_of_one_series_holds_every_sample(result, signals):
    (axis,) = result.plot(*signals).axes
    curve = next(line for line in axis.lines if line.get_label() == "inv1")
    np.testing.assert_array_equal(curve.get_ydata(), result.series("inv1", "f[Hz]")[1])
    assert axis.get_ylabel() == "[Hz]"
    matplotlib.pyplot.close("all")


def test_plot_of_series_with_different_times(result):
    figure = result.plot("m1", "inv1.P_gen[MW]", "inv2.P_gen[MW]")
    assert [len(axis.lines) - len(result.events) for axis in figure.axes] == [2, 1]
    matplotlib.pyplot.close("all")


def test_plot_without_matplotlib_names_the_extra(result, monkeypatch):
    without(monkeypatch, "matplotlib")
    with pytest.raises(ValueError, match=r"pip install 'gridloop\[plot\]'"):
        result.plot()


# --- the command ---


def gridloop(*words):
    return CliRunner().invoke(app, words)


def test_export_writes_beside_the_run_or_where_it_is_told(result):
    assert gridloop("export", "a").stdout.strip() == "a/series.csv"
    assert len(rows_of("a/series.csv")) == 1483
    answer = gridloop("export", "a", "--out", "x.csv", "--every", "1", "--signals", "inv1.*,*.f[Hz]")
    assert answer.stdout.strip() == "x.csv"
    head, *rows = rows_of("x.csv")
    assert len(head) == 6
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize(("words", "told"), [
    (["nowhere"], "nowhere holds no run"),
    ([], "there is no run in runs/"),
    (["a", "--out", "a.xls"], "a.xls: the file's name must end in .csv, .parquet, .h5"),
    (["a", "--signals", "inv9"], "no series fits 'inv9'; this run has inv1, inv2"),
    (["a", "--every", "0"], "the distance of rows must be > 0 s, got 0"),
])  # fmt: skip
def test_export_of_what_is_not_there(result, words, told):
    answer = gridloop("export", *words)
    assert answer.exit_code == 2
    assert answer.stderr.startswith(f"error: {told}")
    assert not list(Path().glob("*.csv"))
