# cython: language_level=3


def fib(int n):
    """Return the n-th Fibonacci number."""
    cdef unsigned long long a = 0, b = 1
    if not 0 <= n <= 93:
        raise ValueError("n must be in 0..93")
    for _ in range(n):
        a, b = b, a + b
    return a
