#include <Python.h>

static PyObject *
answer(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
    return PyLong_FromLong(42);
}

static PyMethodDef methods[] = {
    {"answer", answer, METH_NOARGS, "Return 42."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "large_wheel._core", .m_methods = methods};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&module);
}
