#ifndef CORE_H
#define CORE_H

#include <assert.h>

static inline long
half(long number)
{
    assert(number % 2 == 0);
    return number / 2;
}

static inline const char *
header_path(void)
{
    return __FILE__;
}

#endif
