#include <Python.h>

PyDoc_STRVAR(count_words_doc,
"count_words(text, /)\n"
"--\n"
"\n"
"Return how many words text has: the same number as len(text.split()),\n"
"without making the list.");

static PyObject *
count_words(PyObject *Py_UNUSED(module), PyObject *text)
{
    if (!PyUnicode_Check(text)) {
        return PyErr_Format(PyExc_TypeError, "count_words() takes a str, not %.200s", Py_TYPE(text)->tp_name);
    }

    Py_ssize_t words = 0;
    int in_word = 0;
    Py_ssize_t length = PyUnicode_GetLength(text);
    for (Py_ssize_t i = 0; i < length; i++) {
        int is_space = Py_UNICODE_ISSPACE(PyUnicode_READ_CHAR(text, i));
        words += !is_space && !in_word;
        in_word = !is_space;
    }
    return PyLong_FromSsize_t(words);
}

static PyMethodDef methods[] = {
    {"count_words", count_words, METH_O, count_words_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_mod_gil /* 3.13 and later: the module needs no lock on free-threaded builds */
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "spam._spam",
    .m_doc = "The C half of spam.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__spam(void)
{
    return PyModuleDef_Init(&module);
}
