#ifndef SHOUT_H
#define SHOUT_H

/* Turns the ASCII letters of text into capitals, in place. */
void shout(char *text);

#endif
