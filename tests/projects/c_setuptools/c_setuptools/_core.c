#include <Python.h>
#include "core.h"

static PyObject *
source_file(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
    return PyUnicode_DecodeFSDefault(__FILE__);
}

static PyObject *
header_file(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
    assert(half(2) == 1);
    return PyUnicode_DecodeFSDefault(header_path());
}

static PyMethodDef methods[] = {
    {"source_file", source_file, METH_NOARGS, "Return the __FILE__ of this module's C source."},
    {"header_file", header_file, METH_NOARGS, "Return the __FILE__ of this module's C header."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "c_setuptools._core", .m_methods = methods};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&module);
}
