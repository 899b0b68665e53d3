from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "abi3._core",
            ["abi3/_core.c"],
            define_macros=[("Py_LIMITED_API", "0x03090000")],
            py_limited_api=True,
        )
    ]
)
