#include <Python.h>

int one(const char *), two(const char *), three(const char *), four(const char *), five(int), six(int);

static PyObject *total(PyObject *self, PyObject *args) {
    return PyLong_FromLong(one("a") + two("a") + three("a") + four("a") + five(1) + six(1));
}

static PyMethodDef methods[] = {{"total", total, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "core", NULL, 0, methods};

PyMODINIT_FUNC PyInit_core(void) { return PyModule_Create(&module); }
