#include <Python.h>

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "fails_compile.part_10"};

PyMODINIT_FUNC
PyInit_part_10(void)
{
    return PyModuleDef_Init(&module);
}
