"""Files of measurements: what is read, and one line for everything that is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import planted, write

from snnrobust.errors import MeasurementError
from snnrobust.hardware.measurement.table import Device, read_measurements

HEAD = "chip,core,neuron,x,y,parameter,bias,trial,value,unit\n"


def read(tmp_path, text):
    path = tmp_path / "m.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_measurements(path)


def mistakes(tmp_path, text):
    with pytest.raises(MeasurementError) as caught:
        read(tmp_path, text)
    start = f"{tmp_path / 'm.csv'}:"
    lines = str(caught.value).splitlines()
    assert all(line.startswith(start) for line in lines)
    return [line.removeprefix(start) for line in lines]


def test_every_column_is_read(tmp_path):
    text = (
        "chip,core,neuron,layer,type,synapse,x,y,parameter,bias,trial,value,unit,nominal\n"
        "a,1,2,layer0,inhibitory,5,0.5,1,weight,low,7,4.2,mV,4\n"
    )
    (row,) = read(tmp_path, text).rows
    assert row.device == Device("a", 1, 2, "layer0", "inhibitory", 5)
    assert (row.line, row.parameter, row.value, row.unit, row.nominal) == (2, "weight", 4.2, "mV", 4.0)
    assert (row.place, row.bias, row.trial) == ((0.5, 1.0), "low", "7")


def test_what_is_absent_has_its_default(tmp_path):
    rows = read(tmp_path, "neuron,value,parameter,chip\n3,20,tau_mem,a\n\n3,21,tau_mem,a\n").rows
    assert [row.trial for row in rows] == ["1", "2"]  # rows of one device are repetitions
    assert rows[0].device == Device("a", 0, 3, "", "excitatory", -1)
    assert (rows[0].place, rows[0].bias, rows[0].unit, rows[0].nominal) == (None, "", "1", None)
    assert [row.line for row in rows] == [2, 4]


def test_times_are_in_seconds(tmp_path):
    units = {"s": 0.02, "ms": 20.0, "us": 2e4, "µs": 2e4}
    for unit, value in units.items():
        (row,) = read(tmp_path, f"chip,neuron,parameter,value,unit,nominal\na,0,tau_mem,{value},{unit},{value}\n").rows
        assert row.value == pytest.approx(0.02)
        assert row.nominal == pytest.approx(0.02)
        assert row.unit == "s"


def test_sentinels_are_counted_and_not_used(tmp_path):
    values = ["nan", "", "inf", "-inf", "1e38", "-1e30", "0", "-3", "5", "9.9e29"]
    rows = "".join(f"a,{n},tau_mem,{v}\n" for n, v in enumerate(values))
    found = read(tmp_path, "chip,neuron,parameter,value\n" + rows + "a,0,v_leak,-3\n")
    assert [row.value for row in found.rows] == [5.0, 9.9e29, -3.0]  # a potential may be negative
    assert found.sentinels == {"tau_mem": {"empty or NaN": 2, "infinite or at least 1e30": 4, "not positive": 2}}


def test_every_mistake_is_one_line(tmp_path):
    text = HEAD + (
        "a,0,0,0,0,tau_mem,b,1,20,ms\n"
        "a,0,0,0,0,tau_mem,b,1,21,ms\n"
        "a,0,0,0,3,tau_mem,b,2,21,ms\n"
        "a,0,1,0,1,tau_mem,b,1,21,mV\n"
        "a,x,-1,0,1,tau_mem,b,1,21,ms\n"
        "a,0,2,0,one,tau_mem,b,1,21,ms\n"
        "a,0,3,0,1,tau_men,b,1,21,ms\n"
        "a,0,4,0,1,tau_mem,b,1,twenty,ms\n"
        ",0,5,0,1,tau_mem,b,1,20,ms\n"
        "a,0,6,0,1,tau_mem,b,1\n"
        "a,0,7,nan,1,tau_mem,b,1,20,ms\n"
    )
    assert sorted(mistakes(tmp_path, text), key=lambda line: int(line.split(":")[0])) == [
        "3: repeats line 2: the same device, parameter, bias and trial",
        "4: x, y: (0.0, 3.0) of the same neuron; line 2 has (0.0, 0.0)",
        "5: unit: 'mV' of tau_mem; line 2 has 's'",
        "6: core: 'x' must be a whole number from 0",
        "7: y: 'one' is not a number",
        "8: parameter: unknown 'tau_men' (did you mean 'tau_mem'?); allowed: adaptation, bias, gain, recurrent_weight, "
        "refractory, tau_adapt, tau_mem, tau_syn, v_leak, v_reset, v_th, weight",
        "9: value: 'twenty' is not a number",
        "10: chip: is empty; needed: the name of the chip",
        "11: 8 cells; the header has 10",
        "12: x, y: nan, 1 must be finite",
    ]


def test_headers(tmp_path):
    assert mistakes(tmp_path, "chip,neuron,parameters,value\n") == [
        "1: column: unknown 'parameters' (did you mean 'parameter'?); allowed: bias, chip, core, layer, neuron, "
        "nominal, parameter, synapse, trial, type, unit, value, x, y",
        "1: column parameter is missing; needed: chip, neuron, parameter, value",
    ]
    assert mistakes(tmp_path, "chip,neuron,parameter,value,value,x\n") == [
        "1: column value is given twice",
        "1: columns x and y go together",
    ]
    assert len(mistakes(tmp_path, "")) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"chip,neuron,parameter,value\n" + b'"' + b"a" * 200_000, "is not a CSV file"),
        (b"chip,neuron,parameter,value\n", "holds no usable value"),
        (b"chip,neuron,parameter,value\na,0,tau_mem,nan\n", "holds no usable value"),
    ],
)
def test_files_that_are_no_tables(tmp_path, content, message):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(MeasurementError, match=message):
        read_measurements(tmp_path / "m.csv")


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(MeasurementError, match="cannot be read"):
            read_measurements(path)


CELL = st.one_of(
    st.sampled_from(["a", "0", "7", "-1", "nan", "1e38", "tau_mem", "weight", "ms", "", '"', ",", "\0"]),
    st.text(max_size=4),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(CELL, min_size=8, max_size=12), max_size=6))
def test_no_content_is_a_traceback(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("any") / "m.csv"
    path.write_text(HEAD + "\n".join(",".join(row) for row in table), encoding="utf-8", errors="replace")
    try:
        rows, lines = read_measurements(path).rows, []
    except MeasurementError as error:
        rows, lines = (), str(error).splitlines()
    assert bool(rows) != bool(lines)
    assert all(line.startswith(str(path)) for line in lines)
    assert all(math.isfinite(row.value) for row in rows)


def test_writing_and_reading(tmp_path):
    rows = planted(np.random.default_rng(0), chips=2, cores=1, neurons=9)
    assert read_measurements(write(tmp_path / "m.csv", rows)).rows == tuple(rows)


def test_one_error_of_many_rows_is_one_line(tmp_path):
    rows = "".join(f"a,{n},tau_men,20\n" for n in range(1000)) + "a,1,tau_mem,x\n"
    first, second = mistakes(tmp_path, "chip,neuron,parameter,value\n" + rows)
    assert first.startswith("2: unknown parameter") or first.startswith("2: parameter: unknown")
    assert first.endswith("(1,000 lines: 2, 3, 4, 5, 6, ...)")
    assert second == "1002: value: 'x' is not a number"


def test_many_kinds_of_errors_are_cut_short(tmp_path):
    lines = mistakes(tmp_path, "chip,neuron,parameter,value\n" + "".join(f"a,x{n},tau_mem,1\n" for n in range(50)))
    assert len(lines) == 21
    assert lines[-1] == " and 30 more errors"
