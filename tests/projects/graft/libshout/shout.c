#include "shout.h"

void
shout(char *text)
{
    for (; *text; text++) {
        if (*text >= 'a' && *text <= 'z') {
            *text += 'A' - 'a';
        }
    }
}
