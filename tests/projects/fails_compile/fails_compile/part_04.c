#include <Python.h>

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "fails_compile.part_04"};

PyMODINIT_FUNC
PyInit_part_04(void)
{
    return PyModuleDef_Init(&module);
}
