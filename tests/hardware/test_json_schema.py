"""The JSON Schema that editors use: every shipped profile is valid, mistakes are not, every word is explained."""

from __future__ import annotations

import copy
import re

import pytest
from test_profile import NAMES, TEXTS

from snnrobust.hardware.schema.json_schema import json_schema
from snnrobust.hardware.schema.yaml_lines import read

SCHEMA = json_schema()
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def is_type(value, name):
    if name in ("number", "integer"):
        return isinstance(value, int if name == "integer" else int | float) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def valid(value, part=SCHEMA):
    """Whether a value fits the parts of JSON Schema that the schema uses; every other keyword is a failure."""
    known = {"$schema", "$defs", "$ref", "title", "description", "default", "type", "anyOf", "enum", "const", "pattern"}
    known |= {"properties", "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems"}
    known |= {"minimum", "maximum", "exclusiveMinimum", "minLength"}
    assert set(part) <= known, set(part) - known
    if "$ref" in part:
        return valid(value, SCHEMA["$defs"][part["$ref"].removeprefix("#/$defs/")])
    if "anyOf" in part:
        return any(valid(value, option) for option in part["anyOf"])
    if ("type" in part and not is_type(value, part["type"])) or value not in part.get("enum", [value]):
        return False
    if "const" in part and value != part["const"]:
        return False
    if isinstance(value, dict):
        return valid_object(value, part)
    if isinstance(value, list):
        first = part.get("prefixItems", [])
        schemas = [*first, *[part.get("items", {})] * (len(value) - len(first))]
        fits = part.get("minItems", 0) <= len(value) <= part.get("maxItems", len(value))
        return fits and all(map(valid, value, schemas[: len(value)]))
    if isinstance(value, str):
        return len(value) >= part.get("minLength", 0) and re.search(part.get("pattern", ""), value) is not None
    if is_type(value, "number"):
        low = part.get("minimum", value) <= value and part.get("exclusiveMinimum", value - 1) < value
        return low and value <= part.get("maximum", value)
    return True


def valid_object(value, part):
    allowed, wanted = part.get("properties", {}), part.get("required", [])
    strict = part.get("additionalProperties", True) is not False or set(value) <= set(allowed)
    return strict and set(wanted) <= set(value) and all(valid(v, allowed.get(k, {})) for k, v in value.items())


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_profile_is_valid(name):
    assert valid(read(TEXTS[name]).data)


def changed(path, value):
    data = copy.deepcopy(read(TEXTS["dynapse1"]).data)
    block = data
    for key in path[:-1]:
        block = block[key]
    if value is None:
        del block[path[-1]]
    else:
        block[path[-1]] = value
    return data


WRONG = [
    (("colour",), "blue"),
    (("schema_version",), "2.0"),
    (("schema_version",), None),
    (("name",), "a chip"),
    (("parameters", "threshold"), {}),
    (("parameters", "weight", "granularity"), "per_synapses"),
    (("parameters", "weight", "granularity"), None),
    (("parameters", "weight", "components", "device", "cv"), "0.1"),
    (("parameters", "weight", "components", "device", "cv"), -0.1),
    (("parameters", "weight", "components", "device", "evidence"), "guessed"),
    (("parameters", "tau_mem", "outliers", "fraction"), 1.5),
    (("parameters", "tau_mem", "clip"), [0.1]),
    (("limits", "fan_in"), 0),
    (("limits", "fan_in"), 1.5),
    (("faults", "known"), "yes"),
    (("time_scale",), {"value": 0}),
    (("sources", 0, "key"), ""),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=str)
def test_a_mistake_is_not(path, value):
    assert not valid(changed(path, value))


def test_the_same_with_the_reference_validator():
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for name in NAMES:
        assert list(validator.iter_errors(read(TEXTS[name]).data)) == []
    for path, value in WRONG:
        assert list(validator.iter_errors(changed(path, value)))


def test_no_block_takes_unknown_keys_and_every_block_is_explained():
    for name, part in {"": SCHEMA, **SCHEMA["$defs"]}.items():
        assert part["type"] == "object", name
        assert part["additionalProperties"] is False, name
        assert part["description"].endswith("."), name
        assert "Attributes" not in part["description"], name


def test_fields_have_the_words_of_their_docstrings():
    definitions = SCHEMA["$defs"]
    assert (
        definitions["Energy"]["properties"]["pj_per_spike"]["description"] == "Energy of one spike of a neuron in pJ."
    )
    cv = definitions["Temporal"]["properties"]["cv"]["description"]  # inherited
    assert cv == "Coefficient of variation, a fraction (mode relative)."
    granularity = definitions["Parameter"]["properties"]["granularity"]["description"]  # of several lines
    assert granularity.startswith("Which elements share one device draw.")
    assert granularity.endswith("one synapse type.")
    assert definitions["Programming"]["properties"]["evidence"]["description"].startswith("How the numbers")


def test_no_default_that_an_editor_would_paste_as_a_block():
    defaults = [f["default"] for d in SCHEMA["$defs"].values() for f in d["properties"].values() if "default" in f]
    assert all(isinstance(default, bool | int | float | str) for default in defaults)
