#include <Python.h>

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "fails_compile.part_21"};

PyMODINIT_FUNC
PyInit_part_21(void)
{
    return PyModuleDef_Init(&module);
}
