#include <Python.h>

struct parrot {
    int age;
};

static PyObject *
state(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
    struct parrot norwegian_blue = {.age = 1};
    /* the error is in the next line, 12 */
    return PyLong_FromLong(norwegian_blue.pining);
}

static PyMethodDef methods[] = {
    {"state", state, METH_NOARGS, "Return the state of the parrot."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "fails_compile.broken", .m_methods = methods};

PyMODINIT_FUNC
PyInit_broken(void)
{
    return PyModuleDef_Init(&module);
}
