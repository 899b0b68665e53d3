#include <assert.h>

int five(int value) {
    assert(value > 0);
    return value * 5;
}
