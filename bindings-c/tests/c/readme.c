/* The program of the README, which the test puts into readme.inc. */
#include "readme.inc"
