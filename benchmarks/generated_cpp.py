"""Write a C++ project as there are many: a library of units that know nothing of Python, and a few that bind it.

    python benchmarks/generated_cpp.py FOLDER

36 units with parts of the STL, of which 3 include Python.h. The same sources each time; it needs only setuptools.
"""

from __future__ import annotations

import sys
from pathlib import Path

LIBRARY_UNITS = 33
_BINDINGS = ("module", "numbers", "texts")

_PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "manyunits"
version = "1.0"
requires-python = ">=3.9"
"""

_SETUP = """\
from glob import glob

from setuptools import Extension, setup

setup(
    packages=[],
    ext_modules=[
        Extension("manyunits", sorted(glob("src/*.cpp")), include_dirs=["src"], language="c++",
                  depends=sorted(glob("src/*.h")), extra_compile_args=["-std=c++17"]),
    ],
)
"""

_HEADER = """\
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace manyunits {

struct Record {
    std::string name;
    std::vector<double> values;
    std::map<std::string, double> weights;
};

"""

_UNIT = """\
#include "manyunits.h"

namespace manyunits {{
namespace {{

double weighted(const Record& record) {{
    double sum = {number}.0;
    for (const auto& weight : record.weights) {{
        sum += weight.second * static_cast<double>(weight.first.size());
    }}
    for (double value : record.values) {{
        sum = sum * {factor}.0 + value;
    }}
    return sum;
}}

}}  // namespace

double unit_{number}(const std::vector<Record>& records) {{
    std::map<std::string, double> groups;
    std::vector<double> values;
    for (const Record& record : records) {{
        const double value = weighted(record);
        groups[record.name.substr(0, {factor})] += value;
        values.push_back(value);
    }}
    std::sort(values.begin(), values.end());
    return values.empty() ? {number}.5 : values[values.size() / 2] + static_cast<double>(groups.size());
}}

}}  // namespace manyunits
"""

_NUMBERS = """\
#include <Python.h>

#include "manyunits.h"

PyObject* number_of(PyObject*, PyObject* argument) {
    const double value = PyFloat_AsDouble(argument);
    if (PyErr_Occurred()) {
        return nullptr;
    }
    const std::vector<manyunits::Record> records{{"one", {value, value + 1}, {{"weight", value}}}};
    return PyFloat_FromDouble(manyunits::all_units(records));
}
"""

_TEXTS = """\
#include <Python.h>

#include "manyunits.h"

PyObject* text_of(PyObject*, PyObject* argument) {
    const char* text = PyUnicode_AsUTF8(argument);
    if (text == nullptr) {
        return nullptr;
    }
    std::string reversed(text);
    std::reverse(reversed.begin(), reversed.end());
    return PyUnicode_FromStringAndSize(reversed.data(), static_cast<Py_ssize_t>(reversed.size()));
}
"""

_MODULE = """\
#include <Python.h>

#include "manyunits.h"

PyObject* number_of(PyObject*, PyObject*);
PyObject* text_of(PyObject*, PyObject*);

namespace manyunits {

double all_units(const std::vector<Record>& records) {
    return %s;
}

}  // namespace manyunits

static PyMethodDef methods[] = {
    {"number_of", number_of, METH_O, nullptr},
    {"text_of", text_of, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "manyunits", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr,
};

PyMODINIT_FUNC PyInit_manyunits(void) { return PyModule_Create(&definition); }
"""


def write_project(folder: Path) -> Path:
    """Write the project into a new folder; return the folder."""
    source = folder / "src"
    source.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(_PYPROJECT, encoding="utf-8")
    (folder / "setup.py").write_text(_SETUP, encoding="utf-8")
    (folder / "MANIFEST.in").write_text("include src/*.h\n", encoding="utf-8")
    (source / "manyunits.h").write_text(_header(), encoding="utf-8")
    for number in range(LIBRARY_UNITS):
        unit = _UNIT.format(number=number, factor=number % 7 + 2)
        (source / f"unit_{number:02}.cpp").write_text(unit, encoding="utf-8")
    total = " + ".join(f"unit_{number}(records)" for number in range(LIBRARY_UNITS))
    for name, text in zip(_BINDINGS, (_MODULE % total, _NUMBERS, _TEXTS), strict=True):
        (source / f"py_{name}.cpp").write_text(text, encoding="utf-8")
    return folder


def _header() -> str:
    units = "\n".join(f"double unit_{number}(const std::vector<Record>& records);" for number in range(LIBRARY_UNITS))
    return f"{_HEADER}{units}\ndouble all_units(const std::vector<Record>& records);\n\n}}  // namespace manyunits\n"


if __name__ == "__main__":
    write_project(Path(sys.argv[1]))
