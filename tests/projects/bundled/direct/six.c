#include <assert.h>

int six(int value) {
    assert(value > 0);
    return value * 6;
}
