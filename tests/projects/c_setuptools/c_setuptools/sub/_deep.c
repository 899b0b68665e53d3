#include <Python.h>
#include "core.h"

static PyObject *
py_half(PyObject *Py_UNUSED(module), PyObject *arg)
{
    long number = PyLong_AsLong(arg);
    if (number == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (number % 2 != 0) {
        PyErr_SetString(PyExc_ValueError, "only even numbers have halves here");
        return NULL;
    }
    return PyLong_FromLong(half(number));
}

static PyMethodDef methods[] = {
    {"half", py_half, METH_O, "Return half of an even number."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "c_setuptools.sub._deep", .m_methods = methods};

PyMODINIT_FUNC
PyInit__deep(void)
{
    return PyModuleDef_Init(&module);
}
