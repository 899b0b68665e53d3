#include <Python.h>
#include <shout.h>
#include <string.h>

static PyObject *
py_shout(PyObject *Py_UNUSED(module), PyObject *arg)
{
    PyObject *bytes = PyUnicode_AsUTF8String(arg);
    if (bytes == NULL) {
        return NULL;
    }
    char *copy = PyMem_Malloc(PyBytes_GET_SIZE(bytes) + 1);
    if (copy == NULL) {
        Py_DECREF(bytes);
        return PyErr_NoMemory();
    }
    strcpy(copy, PyBytes_AS_STRING(bytes));
    Py_DECREF(bytes);
    shout(copy);
    PyObject *result = PyUnicode_FromString(copy);
    PyMem_Free(copy);
    return result;
}

static PyMethodDef methods[] = {
    {"shout", py_shout, METH_O, "Return the text with its ASCII letters as capitals."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "graft._core", .m_methods = methods};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&module);
}
