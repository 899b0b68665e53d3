#include <Python.h>
#include <limits.h>

extern int close_range(unsigned int first, unsigned int last, int flags); /* GLIBC_2.34 */

static PyObject *
close_from(PyObject *Py_UNUSED(module), PyObject *arg)
{
    unsigned long first = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (first > UINT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "not a file descriptor");
        return NULL;
    }
    if (close_range((unsigned int)first, UINT_MAX, 0) < 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"close_from", close_from, METH_O, "Close every file descriptor from the given one on."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "new_symbol._core", .m_methods = methods};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&module);
}
