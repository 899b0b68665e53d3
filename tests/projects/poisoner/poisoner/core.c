#include <Python.h>

int answer_of_all(void);

static PyObject *answer(PyObject *self, PyObject *args) { return PyLong_FromLong(answer_of_all()); }

static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "core", NULL, 0, methods};

PyMODINIT_FUNC PyInit_core(void) { return PyModule_Create(&module); }
