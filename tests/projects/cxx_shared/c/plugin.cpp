#include "shapes.h"

extern "C" Shape *create() { return new Box<long>; }
extern "C" void refuse() { throw Refused(9); }
