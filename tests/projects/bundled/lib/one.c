#include <assert.h>
#include <string.h>

int one(const char *text) {
    assert(text);
    return (int)strlen(text) * 1;
}
